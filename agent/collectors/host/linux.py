"""The machine itself under Linux: psutil, and from /proc and /sys what psutil does not know or knows otherwise."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from agent.collectors.host.disk import Mount, mount_table, visible
from agent.collectors.host.diskio import Counters
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.system import UTMP_FILE, cpu_list
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.top import Task

RENAMED = {b"none", b"/dev/root", b"rootfs"}  # devices that psutil gives another name than the mount table has


class Linux(ThroughPsutil):
    """What both know is psutil's, but for what has its reason here. docs/decisions/004 has them together."""

    def __init__(self, proc: ThroughProc) -> None:
        super().__init__()
        self._proc = proc

    def numbers(self, count: int) -> Sequence[int]:
        # psutil leaves out the CPUs that are off line, and does not say which.
        online = cpu_list(self._proc.own.online() or b"")
        return online if len(online) == count else super().numbers(count)  # under LXC, /sys is the host's

    def memory(self) -> Fields:
        return self._proc.memory() | super().memory()

    def swap(self) -> Fields:
        # For psutil every page has 4 KiB, and where paging is not counted it is 0.
        return self._proc.swap() | {name: value for name, value in super().swap().items() if name not in {"in", "out"}}

    def mounts(self) -> list[Mount]:
        # A hardened service sees mounts of its own: all read-only, some paths mounted over, homes hidden.
        machine = mount_table(self._proc.tree.mounts)
        return visible(machine, put_back(super().mounts(), machine))

    def blocks(self, devices: Filter) -> dict[str, Counters]:
        further = self._proc.blocks(devices)
        return {name: further.get(name, {}) | counters for name, counters in super().blocks(devices).items()}

    def up(self, names: Collection[str]) -> list[str]:
        # psutil would ask every card for its speed as well, under the kernel's lock for networks.
        return self._proc.up(names)

    def speeds(self, names: Collection[str]) -> dict[str, int]:
        try:
            return super().speeds(names)
        except OSError:
            # One card that does not take the question (ENOTTY, EPERM) is enough: psutil then says nothing of any.
            return self._proc.speeds(names)

    def logins(self) -> list[str] | None:
        # psutil knows utmp alone, and distributions begin to leave it out.
        return super().logins() if os.path.exists(self._proc.tree.path(UTMP_FILE)) else self._proc.logins()

    def processes(self) -> Fields:
        # psutil would take five times as long, and it does not count threads.
        return self._proc.processes()

    def tasks(self) -> Iterable[Task]:
        return self._proc.tasks()

    def owner(self, pid: int) -> str:
        return self._proc.owner(pid)

    def temperatures(self) -> Iterable[Row]:
        # psutil looks for every sensor, its name and its limits each time, and gives two chips of a name as one.
        return self._proc.temperatures()

    def fans(self) -> Iterable[Row]:
        return self._proc.fans()

    def pressure(self) -> Iterable[Row]:
        return self._proc.pressure()

    def cgroups(self) -> Iterable[Row]:
        return self._proc.cgroups()


def put_back(ours: list[Mount], machine: list[Mount]) -> list[Mount]:
    """The mounts that psutil found, with the devices that it renames called as in the machine's table."""
    names = {mount.path: mount.device for mount in machine if mount.device in RENAMED}
    return [mount._replace(device=names.get(mount.path, mount.device)) for mount in ours]
