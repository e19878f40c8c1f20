"""The machine itself under Linux: psutil, and from /proc and /sys what psutil does not know or knows otherwise."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from agent.collectors.host.disk import Mount, mount_table, visible
from agent.collectors.host.diskio import Counters
from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.system import RECORD, System, cpu_list
from agent.collectors.host.through_proc import ThroughProc
from agent.collectors.host.through_psutil import ThroughPsutil
from agent.collectors.host.tree import Tree

RENAMED = {b"none", b"/dev/root", b"rootfs"}  # devices that psutil gives another name than the mount table has


class Linux(ThroughPsutil):
    """Where both know a field, it is psutil's, but for those named here."""

    def __init__(self, cgroups: Sequence[str]) -> None:
        super().__init__()
        self._tree = Tree()
        self._proc = ThroughProc(self._tree, cgroups)
        self._system = System(self._tree)

    def numbers(self, count: int) -> Sequence[int]:
        # psutil leaves out the CPUs that are off line, and does not say which.
        online = cpu_list(self._system.online() or b"")
        return online if len(online) == count else super().numbers(count)  # LXC: /sys is another machine's

    def memory(self) -> Fields:
        return self._proc.memory() | super().memory()

    def swap(self) -> Fields:
        # `in` and `out` are ours: to psutil every page has 4 KiB.
        return self._proc.swap() | {name: value for name, value in super().swap().items() if name not in {"in", "out"}}

    def mounts(self) -> list[Mount]:
        # A hardened service has a mount table of its own: everything read-only, homes hidden, some paths mounted twice.
        machine = mount_table(self._tree.mounts)
        return visible(machine, put_back(super().mounts(), machine))

    def blocks(self, devices: Filter) -> dict[str, Counters]:
        further = self._proc.blocks(devices)
        return {name: further.get(name, {}) | counters for name, counters in super().blocks(devices).items()}

    def up(self, names: Collection[str]) -> list[str]:
        # psutil would ask every card for its speed as well, under the kernel's lock for networks.
        return self._proc.up(names)

    def users(self) -> Fields:
        # psutil does not know logind: without utmp nobody would be there.
        return super().users() if os.path.exists(RECORD) else self._system.users()

    def processes(self) -> Fields:
        # psutil takes five times as long, and does not count threads with it.
        return self._proc.processes()

    def pressure(self) -> Iterable[Row]:
        return self._proc.pressure()

    def cgroups(self) -> Iterable[Row]:
        return self._proc.cgroups()


def put_back(ours: list[Mount], machine: list[Mount]) -> list[Mount]:
    """The mounts as psutil has them, with the devices that it renames as the mount table has them."""
    names = {mount.path: mount.device for mount in machine if mount.device in RENAMED}
    return [mount._replace(device=names.get(mount.path, mount.device)) for mount in ours]
