"""What psutil knows of a machine, under Telegraf's names: all there is on macOS and the BSDs, the most on Linux."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import psutil

from agent.collectors.host.cpu import STATES, TICKS, Times
from agent.collectors.host.disk import Mount, inodes, space, unescape
from agent.collectors.host.diskio import Counters
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.system import load, logged_in
from agent.collectors.host.tree import Absent, share, text

# psutil's words -> Telegraf's.
STATUSES = {"zombie": "zombies", "disk-sleep": "blocked", "tracing-stop": "stopped"}
BLOCK = {
    "read_count": "reads", "write_count": "writes", "read_merged_count": "merged_reads",
    "write_merged_count": "merged_writes", "busy_time": "io_time",
}  # fmt: skip
INTERFACE = {"errin": "err_in", "errout": "err_out", "dropin": "drop_in", "dropout": "drop_out"}

T = TypeVar("T")


class ThroughPsutil:
    """The machine itself, whatever its system. Counters are taken as they are (`nowrap`), so that a reset is seen."""

    def __init__(self) -> None:
        self._cpus: Fields = {}

    def times(self, *, per_cpu: bool) -> Times:
        found = {"cpu-total": psutil.cpu_times()}
        if per_cpu:
            each = psutil.cpu_times(percpu=True)
            found |= {f"cpu{n}": times for n, times in zip(self.numbers(len(each)), each, strict=True)}
        return {
            name: tuple(round(getattr(times, state, 0) * TICKS) for state in STATES) for name, times in found.items()
        }

    def numbers(self, count: int) -> Sequence[int]:
        """Which CPUs those are that psutil found."""
        return range(count)

    def load(self) -> Fields:
        return load(psutil.getloadavg())

    def memory(self) -> Fields:
        found = psutil.virtual_memory()._asdict()
        total, available = found["total"], found["available"]
        fields: Fields = {name: value for name, value in found.items() if name not in {"percent", "buffers"}}
        if "buffers" in found:
            fields["buffered"] = found["buffers"]
        fields |= {"used": total - available, "used_percent": share(total - available, total)}
        return fields | {"available_percent": share(available, total)}

    def swap(self) -> Fields:
        found = psutil.swap_memory()
        fields: Fields = {"total": found.total, "used": found.used, "free": found.free}
        return fields | {"used_percent": share(found.used, found.total), "in": found.sin, "out": found.sout}

    def mounts(self) -> list[Mount]:
        # All, because file servers are no disks to psutil; the C library does not know all of the kernel's escapes.
        found = [
            Mount(
                unescape(os.fsencode(part.device)),
                unescape(os.fsencode(part.mountpoint)),
                part.fstype,
                "ro" in part.opts.split(","),
            )
            for part in psutil.disk_partitions(all=True)
        ]
        return list({mount.path: mount for mount in found}.values())

    def sizes(self, path: bytes) -> Fields:
        found = psutil.disk_usage(os.fsdecode(path))
        return space(found.total, found.used, found.free) | inodes(os.statvfs(path))

    def blocks(self, devices: Filter) -> dict[str, Counters]:
        return {
            name: {BLOCK.get(field, field): value for field, value in counters._asdict().items()}
            for name, counters in _named(psutil.disk_io_counters(perdisk=True, nowrap=False)).items()
            if devices.takes(name)
        }

    def interfaces(self) -> dict[str, Fields]:
        return {
            name: {INTERFACE.get(field, field): value for field, value in counters._asdict().items()}
            for name, counters in _named(psutil.net_io_counters(pernic=True, nowrap=False)).items()
        }

    def up(self, names: Collection[str]) -> list[str]:
        # Not `isup`, which asks for a cable too.
        states = _named(psutil.net_if_stats())
        return [name for name in names if name not in states or "up" in states[name].flags.split(",")]

    def speeds(self, names: Collection[str]) -> dict[str, int]:
        return {name: state.speed for name, state in _named(psutil.net_if_stats()).items()}

    def system(self) -> Fields:
        return self.uptime() | self.cpus() | self.users()

    def uptime(self) -> Fields:
        # Reckoned anew each time: the time of the start moves when the clock is set.
        return {"uptime": int(time.time() - psutil.boot_time())}

    def cpus(self) -> Fields:
        online = psutil.cpu_count() or 0
        if self._cpus.get("n_cpus") != online:
            # Kept, because on Linux it takes a file for each CPU.
            cores = psutil.cpu_count(logical=False)
            self._cpus = {"n_cpus": online}
            if cores:
                self._cpus["n_physical_cpus"] = cores
        return self._cpus

    def users(self) -> Fields:
        return logged_in([user.name for user in psutil.users()])

    def processes(self) -> Fields:
        found = [process.info["status"] for process in psutil.process_iter(["status"])]
        counts = Counter(STATUSES.get(status, status) for status in found)
        words = ("running", "sleeping", "blocked", "zombies", "stopped", "idle")
        fields: Fields = {word: counts[word] for word in words}
        return fields | {"unknown": len(found) - sum(fields.values()), "total": len(found)}

    def pressure(self) -> Iterable[Row]:
        raise Absent("only Linux measures pressure")

    def cgroups(self) -> Iterable[Row]:
        raise Absent("only Linux has control groups")


def _named(found: Mapping[str, T]) -> dict[str, T]:
    """The same under names that may be tags."""
    return {text(os.fsencode(name)): value for name, value in found.items()}
