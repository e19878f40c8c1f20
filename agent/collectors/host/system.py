"""`host.load` and `host.system`: load averages; how long the machine is up, its CPUs, who is logged in."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

from agent.collectors.host.readings import Row
from agent.collectors.host.tree import Tree

CPUS = "/sys/devices/system/cpu"
MAX_CPUS = 65536
UTMP_SIZES = (384, 400)  # of an entry: x86_64 keeps times of 32 bit in it, aarch64 does not
UTMP = struct.Struct("=hxxi32s4s32s")  # type, pid, line, id, user
UTMP_TYPES = range(10)
USER_PROCESS = 7
SESSIONS = "/run/systemd/sessions"


class System:
    """Reads /proc/loadavg and /proc/uptime, /sys for the CPUs, /run for who is logged in."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._online = b""
        self._cpus: dict[str, int | float] = {}

    def load(self) -> Iterator[Row]:
        averages = self._tree.read("/proc/loadavg").split()
        yield Row(
            "host.load", (), {f"load{n}": float(value) for n, value in zip((1, 5, 15), averages[:3], strict=True)}
        )

    def system(self) -> Iterator[Row]:
        fields: dict[str, int | float] = {"uptime": int(float(self._tree.read("/proc/uptime").split()[0]))}
        yield Row("host.system", (), fields | self.cpus() | self.users())

    def cpus(self) -> dict[str, int | float]:
        """How many CPUs are on line, and on how many cores."""
        online = self._tree.read_if_there(f"{CPUS}/online")
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

    def users(self) -> dict[str, int | float]:
        """How many are logged in; nothing where the machine keeps no record of it."""
        # Never /var/run: it is a link to /run, and with a prefix that would be this container's.
        raw = self._tree.read_if_there("/run/utmp")
        names = utmp(raw) if raw is not None else self._sessions()
        return {} if names is None else {"n_users": len(names), "n_unique_users": len(set(names))}

    def _sessions(self) -> list[bytes] | None:
        """As systemd-logind has it: distributions begin to leave utmp out."""
        try:
            files = os.listdir(self._tree.path(SESSIONS))
        except OSError:
            return None
        # Beside the session's file there is a pipe, `<id>.ref`, which must not be opened.
        texts = [self._tree.read_if_there(f"{SESSIONS}/{name}") for name in files if name.isalnum()]
        return [name for text in texts if text and (name := session(text)) is not None]


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
