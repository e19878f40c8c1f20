"""What the groups and the sampler say to each other: a row is one record to be, a reading is what gives rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Group = Literal[
    "cpu", "load", "mem", "swap", "disk", "diskio", "net", "system", "processes", "pressure", "cgroup",
    "temperature", "fan", "battery", "top", "users",
]  # fmt: skip

ABSENT_FOR = 600.0  # seconds

Tags = tuple[tuple[str, str], ...]
Fields = dict[str, int | float]


class Row(NamedTuple):
    """One record to be."""

    source: str  # "host.cpu"
    tags: Tags  # of the instance: (("cpu", "cpu0"),)
    fields: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One thing to read, that can fail or hang without the others.

    `read` runs in a thread, never twice at a time. It may give further readings in place of rows:
    the mounts of a machine are a reading each, because one dead file server hangs only its own.
    """

    group: Group
    label: str  # unique: "cpu", "disk /data"
    read: Callable[[], Iterable[Row | Reading]]


class Absent(Exception):  # noqa: N818 - it is no error
    """The machine has nothing of the kind (a kernel without PSI, no cgroup v2): there is nothing to say."""


class Seldom:
    """Lets a reading be for a while once the machine has nothing of the kind: hardware is seldom built in."""

    def __init__(self, read: Callable[[], Iterable[Row | Reading]], pause: float = ABSENT_FOR) -> None:
        self._read = read
        self._pause = pause
        self._until = float("-inf")

    def read(self) -> Iterable[Row | Reading]:
        """What the reading gives, or nothing while it is let be. Raises Absent where there is nothing of the kind."""
        now = time.monotonic()
        if now < self._until:
            return ()
        try:
            return list(self._read())
        except Absent:
            self._until = now + self._pause
            raise
