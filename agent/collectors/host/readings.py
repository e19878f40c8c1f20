"""What the groups and the sampler say to each other: a row is one record to be, a reading is what gives rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Group = Literal[
    "cpu", "load", "mem", "swap", "disk", "diskio", "net", "system", "processes", "pressure", "cgroup"
]  # fmt: skip

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
