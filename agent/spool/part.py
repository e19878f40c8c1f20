"""What the spool takes in: finished records of one origin for one lane."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class Kind(IntEnum):
    """What the records of a frame are."""

    RECORDS = 1
    DEAD = 2  # dead letters


@dataclass(frozen=True, slots=True)
class Part:
    """Records that are appended together: durable together, in this order, in one lane."""

    lane: str
    origin: str  # the collector's name; it stands in the frame
    records: Sequence[bytes]  # finished JSON objects without line breaks
    received_ms: int  # wall clock of arrival
    kind: Kind = Kind.RECORDS
    # MQTT: the packet id of each record (0: none) and the hash of its payload, to recognise a redelivery.
    packets: Sequence[int] | None = None
    hashes: Sequence[int] | None = None
    # Bytes of each record, of type "I": counted once, for all who ask.
    lengths: array[int] = field(default_factory=lambda: array("I"), repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.lengths) != len(self.records):
            object.__setattr__(self, "lengths", array("I", map(len, self.records)))
