"""What a table of names says: how a field of Telegraf's is called elsewhere, and how its value becomes the other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.collectors.host.memory import PAGE
from agent.collectors.host.readings import Group, Row, Tags

MIB = 1 << 20
BITS = 8


class Unit(NamedTuple):
    """Another unit than Telegraf's: its name, and how a value comes to be in it."""

    name: str
    convert: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class To:
    """
    The other name, of a field or a tag.

    With a `rate`, a counter's growth since the last tick: in a second (1) or in a minute (60). It is
    not there in the first tick, and in one before which any counter of the record ran backwards.
    """

    name: str
    unit: Unit | None = None
    rate: int = 0
    by: str = ""  # whose name it is: a key of the naming's sources; empty: ours, in their style


class LeftOut(NamedTuple):
    """The other naming says the same elsewhere."""

    why: str


class Also(NamedTuple):
    """A field that is worked out of the renamed ones, where all of those it needs are there."""

    name: str
    unit: str
    needs: tuple[str, ...]
    of: Callable[..., float]
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """One group in one naming."""

    fields: Mapping[str, To | LeftOut]
    tags: Mapping[str, To] = field(default_factory=dict)
    also: tuple[Also, ...] = ()
    rest: Callable[[str], str] | None = None  # a group whose fields nobody can list; else unknown ones keep their name
    retag: Callable[[Tags], Tags] | None = None  # what is done to renamed tags
    special: Mapping[Tags, Names] = field(default_factory=dict)  # a record (by Telegraf's tags) with names of its own
    # What is said of all of a group's records together: all of them, with what is new or changed.
    summary: Callable[[list[Row]], list[Row]] | None = None
    summed: tuple[Also, ...] = ()  # what the summary says, for the documentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """All groups in one naming."""

    groups: Mapping[Group, Names]
    sources: Mapping[str, str]  # where names are from: what stands in `by` -> what that is


def rounded(value: float) -> float:
    """In six decimals: a float's seventeen digits are paid for in every sink."""
    return value if isinstance(value, int) else round(value, 6)


def times(factor: float) -> Callable[[float], float]:
    """A conversion that multiplies."""
    return lambda value: round(value * factor, 6)


RATIO = Unit("1", times(0.01))  # out of percent
SECONDS_OF_MS = Unit("s", times(1e-3))
SECONDS_OF_US = Unit("s", times(1e-6))
MEBIBYTES = Unit("MiB", lambda value: round(value / MIB, 4))
KIBIBYTES = Unit("KiB", lambda value: round(value / 1024, 4))
BITS_PER_SECOND = Unit("bit/s", lambda value: round(value * BITS, 2))
BYTES_PER_SECOND_OF_MBIT = Unit("By/s", lambda value: round(value * 1e6) // BITS)
PAGES = Unit("{operation}", lambda value: int(value) // PAGE)


def same(names: str, prefix: str, suffix: str = "", unit: Unit | None = None) -> dict[str, To | LeftOut]:
    """Entries for fields that keep their own name, between a prefix and a suffix; ours, in the naming's style."""
    return {name: To(f"{prefix}{name}{suffix}", unit) for name in names.split()}
