"""What became of records: the fates a cursor attributes them to, and the batches still on their way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """How a stretch of records stands with one sink. Below DELIVERED it is open, from there on settled."""

    PLANNED = 1
    MAYBE = 2  # sent, outcome unknown
    DELIVERED = 3
    EXPIRED = 4
    EVICTED = 5
    DEAD = 6
    DAMAGED = 7
    ABANDONED = 8

    @property
    def settled(self) -> bool:
        """Whether that is final."""
        return self >= State.DELIVERED


@dataclass(slots=True, eq=False)
class Plan:
    """A batch with a name, or (segment 0) a settled stretch without one."""

    segment: int
    first: int
    count: int
    crc: int
    state: State

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + self.count


@dataclass(slots=True)
class Ledger:
    """Every record a cursor has moved past, by its fate."""

    delivered: int = 0
    expired: int = 0
    evicted: int = 0
    dead: int = 0
    damaged: int = 0
    abandoned: int = 0
    evicted_maybe_taken: int = 0  # part of evicted
    renamed: int = 0  # batches that got a new name; no records

    @property
    def sum(self) -> int:
        """How many records that is: position - start, always."""
        return self.delivered + self.expired + self.evicted + self.dead + self.damaged + self.abandoned

    def as_dict(self) -> dict[str, int]:
        """A copy by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def add(self, state: State, count: int) -> None:
        """Book `count` records under a fate."""
        match state:
            case State.DELIVERED:
                self.delivered += count
            case State.EXPIRED:
                self.expired += count
            case State.EVICTED:
                self.evicted += count
            case State.DEAD:
                self.dead += count
            case State.DAMAGED:
                self.damaged += count
            case State.ABANDONED:
                self.abandoned += count
            case _:
                raise ValueError(f"{state.name} is no fate")
