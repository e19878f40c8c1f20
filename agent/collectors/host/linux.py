"""The readings of a Linux machine, from its /proc and /sys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from agent.collectors.host.cgroup import Cgroup
from agent.collectors.host.cpu import Cpu
from agent.collectors.host.disk import Disk
from agent.collectors.host.diskio import Diskio
from agent.collectors.host.filters import Filter
from agent.collectors.host.memory import Memory
from agent.collectors.host.net import Net
from agent.collectors.host.pressure import Pressure
from agent.collectors.host.processes import Processes
from agent.collectors.host.readings import Group, Reading, Row
from agent.collectors.host.system import System
from agent.collectors.host.tree import Tree


def linux_readings(
    groups: Sequence[Group],
    *,
    root: str,
    per_cpu: bool,
    mounts: Filter,
    fstypes: Filter,
    interfaces: Filter,
    devices: Filter,
    cgroups: Sequence[str],
) -> list[Reading]:
    """A reading for each group, in the order given."""
    tree = Tree(root)
    memory, system = Memory(tree), System(tree)
    reads: dict[Group, Callable[[], Iterable[Row | Reading]]] = {
        "cpu": Cpu(tree, per_cpu=per_cpu).read,
        "load": system.load,
        "mem": memory.memory,
        "swap": memory.swap,
        "disk": Disk(tree, mounts, fstypes).read,
        "diskio": Diskio(tree, devices).read,
        "net": Net(tree, interfaces).read,
        "system": system.system,
        "processes": Processes(tree).read,
        "pressure": Pressure(tree).read,
        "cgroup": Cgroup(tree, cgroups).read,
    }
    return [Reading(group, group, reads[group]) for group in dict.fromkeys(groups)]
