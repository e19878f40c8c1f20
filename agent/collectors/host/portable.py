"""The readings of a machine without /proc, from psutil: as many of the same fields as it gives (macOS, the BSDs)."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import psutil

from agent.collectors.host.disk import sizes
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Group, Reading, Row
from agent.collectors.host.tree import share

STATUSES = {"zombie": "zombies", "disk-sleep": "blocked", "tracing-stop": "stopped"}  # psutil's word -> Telegraf's

Fields = dict[str, int | float]


def portable_readings(
    groups: Sequence[Group],
    *,
    per_cpu: bool,
    mounts: Filter,
    fstypes: Filter,
    interfaces: Filter,
    devices: Filter,
) -> list[Reading]:
    """A reading for each of the groups that psutil knows; pressure and control groups are Linux's own."""
    reads: dict[Group, Callable[[], Iterable[Row | Reading]]] = {
        "cpu": Cpu(per_cpu=per_cpu).read,
        "load": load,
        "mem": memory,
        "swap": swap,
        "disk": lambda: disk(mounts, fstypes),
        "diskio": lambda: diskio(devices),
        "net": lambda: net(interfaces),
        "system": system,
        "processes": processes,
    }
    return [Reading(group, group, reads[group]) for group in dict.fromkeys(groups) if group in reads]


class Cpu:
    """The first reading is only the start of the first interval."""

    def __init__(self, *, per_cpu: bool) -> None:
        self._per_cpu = per_cpu
        self._last: dict[str, dict[str, float]] = {}

    def read(self) -> Iterator[Row]:
        now = {"cpu-total": psutil.cpu_times()._asdict()}
        if self._per_cpu:
            now |= {f"cpu{n}": times._asdict() for n, times in enumerate(psutil.cpu_times(percpu=True))}
        before, self._last = self._last, now
        for name, times in now.items():
            if name in before and (fields := usage(before[name], times)):
                yield Row("host.cpu", (("cpu", name),), fields)


def usage(before: Mapping[str, float], now: Mapping[str, float]) -> Fields:
    """Percent between two readings, and seconds since boot; nothing where no time passed or the counters were reset."""
    # psutil counts a guest's time as user and nice too.
    delta = {state: max(0.0, now[state] - before[state]) for state in now}
    delta["user"] = max(0.0, delta["user"] - delta.get("guest", 0.0))
    delta["nice"] = max(0.0, delta.get("nice", 0.0) - delta.get("guest_nice", 0.0))
    total = sum(delta.values())
    if sum(now.values()) <= sum(before.values()) or total <= 0:
        return {}
    fields: Fields = {f"usage_{state}": share(spent, total) for state, spent in delta.items()}
    fields["usage_active"] = share(total - delta["idle"], total)
    return fields | {f"time_{state}": spent for state, spent in now.items()}


def load() -> Iterator[Row]:
    """Load averages."""
    yield Row("host.load", (), {f"load{n}": value for n, value in zip((1, 5, 15), psutil.getloadavg(), strict=True)})


def memory() -> Iterator[Row]:
    """How memory is used."""
    found = psutil.virtual_memory()._asdict()
    total, available = found["total"], found["available"]
    fields: Fields = {name: value for name, value in found.items() if name not in {"percent", "buffers"}}
    if "buffers" in found:
        fields["buffered"] = found["buffers"]
    fields |= {"used": total - available, "used_percent": share(total - available, total)}
    yield Row("host.mem", (), fields | {"available_percent": share(available, total)})


def swap() -> Iterator[Row]:
    """How swap is used."""
    found = psutil.swap_memory()
    fields: Fields = {"total": found.total, "used": found.used, "free": found.free}
    fields["used_percent"] = share(found.used, found.total)
    yield Row("host.swap", (), fields | {"in": found.sin, "out": found.sout})


def disk(mounts: Filter, fstypes: Filter) -> Iterator[Reading]:
    """A reading for each mount."""
    for part in psutil.disk_partitions(all=mounts.names):
        if mounts.takes(part.mountpoint) and (mounts.names or fstypes.takes(part.fstype)):
            where = (part.device, part.mountpoint, part.fstype, part.opts)
            yield Reading("disk", f"disk {part.mountpoint}", partial(mounted, *where))


def mounted(device: str, path: str, fstype: str, options: str) -> Iterator[Row]:
    """How full one mount is."""
    mode = "ro" if "ro" in options.split(",") else "rw"
    tags = (("path", path), ("device", device.removeprefix("/dev/")), ("fstype", fstype), ("mode", mode))
    yield Row("host.disk", tags, sizes(os.statvfs(path)))


def diskio(devices: Filter) -> Iterator[Row]:
    """What each block device has read and written."""
    names = {"read_count": "reads", "write_count": "writes", "read_merged_count": "merged_reads"}
    names |= {"write_merged_count": "merged_writes", "busy_time": "io_time"}
    for device, counters in psutil.disk_io_counters(perdisk=True).items():
        if devices.takes(device):
            fields = {names.get(name, name): value for name, value in counters._asdict().items()}
            yield Row("host.diskio", (("name", device),), fields)


def net(interfaces: Filter) -> Iterator[Row]:
    """What each interface has sent and received."""
    names = {"errin": "err_in", "errout": "err_out", "dropin": "drop_in", "dropout": "drop_out"}
    states = psutil.net_if_stats()
    for interface, counters in psutil.net_io_counters(pernic=True).items():
        state = states.get(interface)
        if interfaces.takes(interface) and (interfaces.names or state is None or state.isup):
            fields: Fields = {names.get(name, name): value for name, value in counters._asdict().items()}
            if state is not None and state.speed > 0:
                fields["speed"] = state.speed
            yield Row("host.net", (("interface", interface),), fields)


def system() -> Iterator[Row]:
    """Uptime, CPUs, who is logged in."""
    names = [user.name for user in psutil.users()]
    fields: Fields = {"uptime": int(time.time() - psutil.boot_time())}
    fields |= {"n_users": len(names), "n_unique_users": len(set(names)), "n_cpus": psutil.cpu_count() or 0}
    if cores := psutil.cpu_count(logical=False):
        fields["n_physical_cpus"] = cores
    yield Row("host.system", (), fields)


def processes() -> Iterator[Row]:
    """How many processes there are, by what they do."""
    found = [process.info["status"] for process in psutil.process_iter(["status"])]
    counts = Counter(STATUSES.get(status, status) for status in found)
    words = ("running", "sleeping", "blocked", "zombies", "stopped", "idle")
    fields: Fields = {word: counts[word] for word in words}
    yield Row("host.processes", (), fields | {"unknown": len(found) - sum(fields.values()), "total": len(found)})
