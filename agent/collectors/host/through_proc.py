"""What the files of a Linux machine say: all there is of one below `host_root`, and of this one what psutil lacks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from agent.collectors.host import cpu, disk, diskio, memory, net, processes
from agent.collectors.host.battery import battery
from agent.collectors.host.cgroup import Cgroup
from agent.collectors.host.filters import Filter
from agent.collectors.host.owners import Owners
from agent.collectors.host.pressure import pressure
from agent.collectors.host.readings import Fields, Row
from agent.collectors.host.sensors import fans, temperatures
from agent.collectors.host.system import System, load
from agent.collectors.host.top import Task, task
from agent.collectors.host.tree import Tree


class ThroughProc:
    """The machine that a tree belongs to."""

    def __init__(self, tree: Tree, cgroups: Sequence[str]) -> None:
        self.tree = tree
        self.own = System(tree)
        self._cgroup = Cgroup(tree, cgroups)
        self._passes = processes.Passes(tree)
        self._temperatures, self._fans = temperatures(tree), fans(tree)
        self._owners = Owners(tree)

    def times(self, *, per_cpu: bool) -> cpu.Times:
        return cpu.times(self.tree.read("/proc/stat"), per_cpu=per_cpu)

    def load(self) -> Fields:
        return load(map(float, self.tree.read("/proc/loadavg").split()[:3]))

    def memory(self) -> Fields:
        return memory.memory(memory.meminfo(self.tree.read("/proc/meminfo")))

    def swap(self) -> Fields:
        return memory.swap(memory.meminfo(self.tree.read("/proc/meminfo")), self.tree.read("/proc/vmstat"))

    def mounts(self) -> list[disk.Mount]:
        ours = disk.mount_table(Tree().read("/proc/self/mounts"))
        return disk.visible(disk.mount_table(self.tree.mounts), ours, os.fsencode(self.tree.root))

    def sizes(self, path: bytes) -> Fields:
        return disk.sizes(os.statvfs(os.fsencode(self.tree.root) + path))

    def blocks(self, devices: Filter) -> dict[str, diskio.Counters]:
        return diskio.diskstats(self.tree.read("/proc/diskstats"), devices)

    def interfaces(self) -> dict[str, Fields]:
        # Process 1's is the host's; without a prefix, the network this process has.
        return net.net_dev(self.tree.read("/proc/1/net/dev" if self.tree.root else "/proc/net/dev"))

    def up(self, names: Collection[str]) -> list[str]:
        return net.up(self.tree, names)

    def speeds(self, names: Collection[str]) -> dict[str, int]:
        return net.speeds(self.tree, names)

    def system(self) -> Fields:
        return self.own.read()

    def processes(self) -> Fields:
        return processes.count(self._passes.stats("processes"))

    def tasks(self) -> Iterable[Task]:
        return [found for stat in self._passes.stats("top") if (found := task(stat)) is not None]

    def owner(self, pid: int) -> str:
        return self._owners.of(pid)

    def pressure(self) -> Iterable[Row]:
        return pressure(self.tree)

    def cgroups(self) -> Iterable[Row]:
        return self._cgroup.read()

    def temperatures(self) -> Iterable[Row]:
        return self._temperatures.read(self.tree)

    def fans(self) -> Iterable[Row]:
        return self._fans.read(self.tree)

    def battery(self) -> Fields:
        return battery(self.tree)

    def logins(self) -> list[str] | None:
        return self.own.logins()
