"""`host.load`, `host.system` and `host.users`: load averages; for how long it is up, its CPUs, who is logged in."""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from agent.collectors.host.readings import Absent, Fields, Row
from agent.collectors.host.tree import Tree, text

CPUS = "/sys/devices/system/cpu"
MAX_CPUS = 65536
UTMP_SIZES = (384, 400)  # of an entry: x86_64 keeps times of 32 bit in it, aarch64 does not
UTMP = struct.Struct("=hxxi32s4s32s")  # type, pid, line, id, user
UTMP_TYPES = range(10)
USER_PROCESS = 7
UTMP_FILE = "/run/utmp"
SESSIONS = "/run/systemd/sessions"


class System:
    """Reads /proc/uptime, /sys for the CPUs, /run for who is logged in."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._online = b""
        self._cpus: Fields = {}

    def read(self) -> Fields:
        return {"uptime": int(float(self._tree.read("/proc/uptime").split()[0]))} | self.cpus() | self.users()

    def cpus(self) -> Fields:
        """How many CPUs are on line, and on how many cores."""
        online = self.online()
        if online is None:  # no /sys below the prefix
            stat = self._tree.read("/proc/stat")
            return {"n_cpus": len(re.findall(rb"^cpu\d", stat, re.MULTILINE))}
        if online != self._online:
            numbers = cpu_list(online)
            cores = {self._tree.read_if_there(f"{CPUS}/cpu{n}/topology/thread_siblings_list") for n in numbers}
            self._cpus = {"n_cpus": len(numbers)}
            if None not in cores:
                self._cpus["n_physical_cpus"] = len(cores)
            self._online = online
        return self._cpus

    def online(self) -> bytes | None:
        """Which CPUs are on line, as a list; None where there is no /sys."""
        return self._tree.read_if_there(f"{CPUS}/online")

    def users(self) -> Fields:
        """How many are logged in; nothing where the machine keeps no record of it."""
        names = self.logins()
        return {} if names is None else logged_in(names)

    def logins(self) -> list[str] | None:
        """The name of everyone logged in, once for each login; None where the machine keeps no record of it."""
        # Never /var/run: it is a link to /run, and with a prefix that would be this container's.
        raw = self._tree.read_if_there(UTMP_FILE)
        names = self._sessions() if raw is None else utmp(raw)
        return None if names is None else list(map(text, names))

    def _sessions(self) -> list[bytes] | None:
        # As systemd-logind has it: distributions begin to leave utmp out.
        try:
            files = os.listdir(self._tree.path(SESSIONS))
        except OSError:
            return None
        # Beside the session's file there is a pipe, `<id>.ref`, which must not be opened.
        found = [self._tree.read_if_there(f"{SESSIONS}/{name}") for name in files if name.isalnum()]
        return [name for each in found if each and (name := session(each)) is not None]


def load(averages: Iterable[float]) -> Fields:
    """The fields of `host.load`: the averages over 1, 5 and 15 minutes, in two decimals as Linux counts them."""
    return {f"load{minutes}": round(average, 2) for minutes, average in zip((1, 5, 15), averages, strict=True)}


def logged_in(names: Collection[str]) -> Fields:
    """How many are logged in, out of the name of each."""
    return {"n_users": len(names), "n_unique_users": len(set(names))}


def each_user(names: Collection[str] | None) -> Iterator[Row]:
    """
    The records of `host.users`, one for each who is logged in: `n_sessions` sums up to `n_users` of `host.system`.

    Raises Absent where the machine keeps no record of it.
    """
    if names is None:
        raise Absent("nobody keeps a record of who is logged in")
    for name, count in sorted(Counter(names).items()):
        yield Row("host.users", (("user", name),), {"n_sessions": count})


def cpu_list(raw: bytes) -> list[int]:
    """`0-3,6` as numbers. Raises ValueError."""
    numbers: list[int] = []
    for part in raw.decode("ascii").strip().split(","):
        if part:
            low, _, high = part.partition("-")
            span = range(int(low), int(high or low) + 1)
            if len(span) > MAX_CPUS:
                raise ValueError("a list of too many CPUs")
            numbers.extend(span)
    return numbers


def utmp(raw: bytes) -> list[bytes]:
    """The name of everyone logged in. Raises ValueError where the file has neither of the known forms."""
    for size in UTMP_SIZES:
        if len(raw) % size == 0:
            entries = [UTMP.unpack_from(raw, at) for at in range(0, len(raw), size)]
            if all(entry[0] in UTMP_TYPES for entry in entries):
                return [entry[4].rstrip(b"\0") for entry in entries if entry[0] == USER_PROCESS]
    raise ValueError("utmp has entries of an unknown size")


def session(raw: bytes) -> bytes | None:
    """The user of a session, where it is one of a person at a terminal or desktop."""
    pairs = dict(line.partition(b"=")[::2] for line in raw.splitlines())
    return pairs.get(b"USER") if pairs.get(b"CLASS", b"").startswith(b"user") else None
