"""`host.cpu`: how each CPU's time was spent, in percent since the last tick and in seconds since boot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.tree import share

STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
IDLE, GUEST, GUEST_NICE = STATES.index("idle"), STATES.index("guest"), STATES.index("guest_nice")
TICKS = os.sysconf("SC_CLK_TCK")  # a second: 100 on every Linux, whatever the kernel's own HZ

Times = dict[str, tuple[int, ...]]  # "cpu-total", "cpu0" -> ticks in the order of STATES


class Cpu:
    """The first reading is only the start of the first interval."""

    def __init__(self, times: Callable[[], Times]) -> None:
        self._times = times
        self._last: Times = {}

    def read(self) -> Iterator[Row]:
        before, now = self._last, self._times()
        self._last = now
        for name, ticks in now.items():
            if name in before and (used := usage(before[name], ticks)) is not None:
                yield Row("host.cpu", (("cpu", name),), used | spent(ticks))


def times(stat: bytes, *, per_cpu: bool) -> Times:
    """The ticks of each CPU out of /proc/stat. Raises ValueError where it is none."""
    found: Times = {}
    for line in stat.splitlines():
        if not line.startswith(b"cpu"):
            break  # the CPUs come first, and the interrupt counts after them are long
        name, *ticks = line.split()
        # Old kernels have fewer states, new ones may have more.
        values = [int(tick) for tick in ticks[: len(STATES)]]
        found["cpu-total" if name == b"cpu" else name.decode("ascii")] = (*values, *[0] * (len(STATES) - len(values)))
        if not per_cpu:
            break
    if "cpu-total" not in found:
        raise ValueError("no line for all CPUs in /proc/stat")
    return found


def usage(before: Sequence[int], now: Sequence[int]) -> Fields | None:
    """Percent of the time between two readings; None where no time passed or the counters were reset."""
    if _total(now) <= _total(before):
        return None
    # Single states do run backwards at times (iowait, and idle where a CPU was offline): that is no use at all.
    delta = [max(0, n - b) for b, n in zip(before, now, strict=True)]
    # The kernel counts a guest's time as user and nice too.
    delta[0] = max(0, delta[0] - delta[GUEST])
    delta[1] = max(0, delta[1] - delta[GUEST_NICE])
    total = sum(delta)
    fields: Fields = {f"usage_{state}": share(spent, total) for state, spent in zip(STATES, delta, strict=True)}
    fields["usage_active"] = share(total - delta[IDLE], total)
    return fields


def spent(ticks: Sequence[int]) -> Fields:
    """Seconds since boot in each state."""
    fields: Fields = {f"time_{state}": n / TICKS for state, n in zip(STATES, ticks, strict=True)}
    fields["time_active"] = (_total(ticks) - ticks[IDLE]) / TICKS
    return fields


def _total(ticks: Sequence[int]) -> int:
    return sum(ticks[:GUEST])
