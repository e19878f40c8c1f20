"""What psutil knows of a machine, under Telegraf's names: all there is on macOS and the BSDs, the most on Linux."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import psutil

from agent.collectors.host import battery
from agent.collectors.host.cpu import STATES, TICKS, Times
from agent.collectors.host.disk import Mount, inodes, space, unescape
from agent.collectors.host.diskio import Counters
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Absent, Fields, Row, Tags
from agent.collectors.host.system import load, logged_in
from agent.collectors.host.top import Task
from agent.collectors.host.tree import share, text

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
        names = self.logins()
        return {} if names is None else logged_in(names)

    def logins(self) -> list[str] | None:
        return [text(os.fsencode(user.name)) for user in psutil.users()]

    def processes(self) -> Fields:
        found = [process.info["status"] for process in psutil.process_iter(["status"])]
        counts = Counter(STATUSES.get(status, status) for status in found)
        words = ("running", "sleeping", "blocked", "zombies", "stopped", "idle")
        fields: Fields = {word: counts[word] for word in words}
        return fields | {"unknown": len(found) - sum(fields.values()), "total": len(found)}

    def tasks(self) -> Iterable[Task]:
        asked = ["pid", "create_time", "name", "cpu_times", "memory_info", "num_threads"]
        for process in psutil.process_iter(asked):
            found = process.info
            if found["cpu_times"] is not None and found["memory_info"] is not None:  # another's, and not shown to us
                yield Task(
                    found["pid"],
                    found["create_time"],
                    text(os.fsencode(found["name"] or "")),
                    found["cpu_times"].user + found["cpu_times"].system,
                    found["memory_info"].rss,
                    found["memory_info"].vms,
                    found["num_threads"] or 0,
                )

    def owner(self, pid: int) -> str:
        try:
            return text(os.fsencode(psutil.Process(pid).username()))
        except psutil.Error:
            return ""

    def temperatures(self) -> Iterable[Row]:
        for tags, sensor in _sensors("sensors_temperatures"):
            limits = {"high": sensor.high, "critical": sensor.critical}
            fields: Fields = {"current": sensor.current}
            yield Row("host.temperature", tags, fields | {name: at for name, at in limits.items() if at is not None})

    def fans(self) -> Iterable[Row]:
        for tags, sensor in _sensors("sensors_fans"):
            yield Row("host.fan", tags, {"rpm": sensor.current})

    def battery(self) -> Fields:
        try:
            found = psutil.sensors_battery()
        except (AttributeError, FileNotFoundError) as error:
            raise Absent("psutil knows no batteries here") from error
        if found is None:
            raise Absent("no battery")
        return battery.fields(found.percent, found.secsleft, plugged=found.power_plugged)

    def pressure(self) -> Iterable[Row]:
        raise Absent("only Linux measures pressure")

    def cgroups(self) -> Iterable[Row]:
        raise Absent("only Linux has control groups")


def _sensors(question: str) -> Iterator[tuple[Tags, Any]]:
    """Every sensor that psutil has an answer for. Raises Absent where it knows no such question, or nothing to it."""
    found: Mapping[str, Sequence[Any]] = getattr(psutil, question, dict)()
    if not found:
        raise Absent("no sensors that psutil knows")
    for chip, sensors in found.items():
        for number, sensor in enumerate(sensors, start=1):
            yield (("chip", text(os.fsencode(chip))), ("label", text(os.fsencode(sensor.label or str(number))))), sensor


def _named(found: Mapping[str, T]) -> dict[str, T]:
    """The same under names that may be tags."""
    return {text(os.fsencode(name)): value for name, value in found.items()}
