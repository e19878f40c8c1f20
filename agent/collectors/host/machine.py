"""What the groups ask of a machine, and the readings that come of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from agent.collectors.host.cpu import Cpu, Times
from agent.collectors.host.disk import Disk, Mount
from agent.collectors.host.diskio import Counters, Diskio
from agent.collectors.host.filters import Filter
from agent.collectors.host.net import Net
from agent.collectors.host.readings import Fields, Group, Reading, Row, Seldom
from agent.collectors.host.system import each_user
from agent.collectors.host.top import Task, Top


class Machine(Protocol):
    """One machine, however it is read. Where it has nothing of the kind, its methods raise Absent."""

    def times(self, *, per_cpu: bool) -> Times:
        """How each CPU's time was spent, and that of all of them."""

    def load(self) -> Fields:
        """How many processes want to run, on average."""

    def memory(self) -> Fields:
        """How memory is used."""

    def swap(self) -> Fields:
        """How swap is used."""

    def mounts(self) -> list[Mount]:
        """The mounts that can be asked for their size."""

    def sizes(self, path: bytes) -> Fields:
        """How full the file system of a mount is."""

    def blocks(self, devices: Filter) -> dict[str, Counters]:
        """What each block device that is reported has read and written."""

    def interfaces(self) -> dict[str, Fields]:
        """What each network interface has received and sent."""

    def up(self, names: Collection[str]) -> list[str]:
        """Those of the interfaces that are up, or of which that is not known."""

    def speeds(self, names: Collection[str]) -> dict[str, int]:
        """The speeds of those interfaces, as far as known; others may be among them."""

    def system(self) -> Fields:
        """For how long it is up, how many CPUs it has, who is logged in."""

    def processes(self) -> Fields:
        """How many processes there are, by what they do."""

    def pressure(self) -> Iterable[Row]:
        """For how much of the time work was held up."""

    def cgroups(self) -> Iterable[Row]:
        """Limits and use of control groups."""

    def temperatures(self) -> Iterable[Row]:
        """How hot it is where there is a sensor."""

    def fans(self) -> Iterable[Row]:
        """How fast the fans turn."""

    def battery(self) -> Fields:
        """How full the battery is."""

    def tasks(self) -> Iterable[Task]:
        """Every process."""

    def owner(self, pid: int) -> str:
        """Whose process that is; nobody's where it has ended."""

    def logins(self) -> list[str] | None:
        """The name of everyone logged in, once for each login; None where the machine keeps no record of it."""


def readings(
    machine: Machine,
    groups: Sequence[Group],
    *,
    per_cpu: bool,
    mounts: Filter,
    fstypes: Filter,
    interfaces: Filter,
    devices: Filter,
    top_processes: int,
) -> list[Reading]:
    """A reading for each group, in the order given."""
    reads: dict[Group, Callable[[], Iterable[Row | Reading]]] = {
        "cpu": Cpu(lambda: machine.times(per_cpu=per_cpu)).read,
        "load": lambda: [Row("host.load", (), machine.load())],
        "mem": lambda: [Row("host.mem", (), machine.memory())],
        "swap": lambda: [Row("host.swap", (), machine.swap())],
        "disk": Disk(mounts, fstypes, table=machine.mounts, ask=machine.sizes).read,
        "diskio": Diskio(lambda: machine.blocks(devices)).read,
        "net": Net(interfaces, counters=machine.interfaces, up=machine.up, speeds=machine.speeds).read,
        "system": lambda: [Row("host.system", (), machine.system())],
        "processes": lambda: [Row("host.processes", (), machine.processes())],
        "pressure": machine.pressure,
        "cgroup": machine.cgroups,
        "temperature": Seldom(machine.temperatures).read,
        "fan": Seldom(machine.fans).read,
        "battery": Seldom(lambda: [Row("host.battery", (), machine.battery())]).read,
        "top": Top(
            top_processes,
            tasks=machine.tasks,
            owner=machine.owner,
            times=lambda: machine.times(per_cpu=False),
            memory=lambda: int(machine.memory()["total"]),
        ).read,
        "users": lambda: each_user(machine.logins()),
    }
    return [Reading(group, group, reads[group]) for group in dict.fromkeys(groups)]
