"""`host.diskio`: what each block device has read and written since boot, and how busy it was since the last tick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.tree import share, text

SECTOR = 512  # bytes, in /proc/diskstats, whatever the device's own
FIELDS = (
    "reads", "merged_reads", "read_bytes", "read_time", "writes", "merged_writes", "write_bytes", "write_time",
    "iops_in_progress", "io_time", "weighted_io_time",
)  # fmt: skip

TIMES = {"read_time", "write_time", "io_time"}

Counters = dict[str, int]


class Diskio:
    """The first reading has no last tick, and so no rates."""

    def __init__(self, counters: Callable[[], dict[str, Counters]]) -> None:
        self._counters = counters
        self._last: dict[str, Counters] = {}
        self._when = 0.0

    def read(self) -> Iterator[Row]:
        now = time.monotonic()
        found = self._counters()
        before, passed = self._last, now - self._when
        self._last, self._when = found, now
        for name, counters in found.items():
            fields: Fields = {**counters}
            if name in before:
                fields |= work(before[name], counters, passed)
            yield Row("host.diskio", (("name", name),), fields)


def diskstats(raw: bytes, devices: Filter) -> dict[str, Counters]:
    """The counters in /proc/diskstats of each device that is reported; times are milliseconds. Raises ValueError."""
    found = {}
    for line in raw.splitlines():
        _, _, name, *values = line.split()
        # Fewer: a partition under a kernel before 2.6.25.
        if not devices.takes(text(name)) or len(values) < len(FIELDS):
            continue
        counters = {field: int(value) for field, value in zip(FIELDS, values, strict=False)}
        counters["read_bytes"] *= SECTOR
        counters["write_bytes"] *= SECTOR
        found[text(name)] = counters
    return found


SHORTEST = 0.001  # seconds; times are counted in milliseconds, and say nothing about less


def work(before: Mapping[str, int], now: Mapping[str, int], seconds: float) -> dict[str, float]:
    """
    Time per request (ms) and share of the time busy.

    Nothing where the counters were reset or have wrapped, or where the system does not count the time (macOS).
    """
    delta = {field: now[field] - before[field] for field in now.keys() & before.keys() if field != "iops_in_progress"}
    if seconds < SHORTEST or min(delta.values()) < 0 or not delta.keys() >= TIMES:
        return {}
    fields = {"io_util": share(delta["io_time"], 1000 * seconds)}
    if requests := delta["reads"] + delta["writes"]:
        fields["io_await"] = round((delta["read_time"] + delta["write_time"]) / requests, 4)
        fields["io_svctm"] = round(delta["io_time"] / requests, 4)
    return fields
