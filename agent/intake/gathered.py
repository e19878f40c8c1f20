"""What one emission comes to: the parts for the spool, and what is booked once they are durable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from agent.events.watch import Event
from agent.record import Emission
from agent.spool import Kind, Part

DEAD_LANE = "dead"


@dataclass(slots=True)
class Taken:
    """What becomes of an emission."""

    parts: list[Part]
    refused: dict[str, int]  # payloads, by reason
    stored: int  # records
    events: list[Event] = field(default_factory=list)
    events_refused: dict[str, int] = field(default_factory=dict)


class _Lot(NamedTuple):
    """What one emission puts into one lane, in columns."""

    records: list[bytes]
    packets: list[int]
    hashes: list[int]


class Gathered:
    """What one emission puts into each lane."""

    def __init__(self, emission: Emission) -> None:
        self._emission = emission
        self._lots: dict[str, _Lot] = {}

    def add(self, lane: str, record: bytes, packet: int, digest: int) -> None:
        lot = self._lots.get(lane)
        if lot is None:
            lot = self._lots[lane] = _Lot([], [], [])
        lot.records.append(record)
        lot.packets.append(packet)
        lot.hashes.append(digest)

    def parts(self) -> list[Part]:
        emission, known = self._emission, self._emission.packets is not None
        return [
            Part(
                lane,
                emission.origin,
                lot.records,
                emission.received_ms,
                Kind.DEAD if lane == DEAD_LANE else Kind.RECORDS,
                packets=lot.packets if known else None,
                hashes=lot.hashes if known else None,
            )
            for lane, lot in self._lots.items()
        ]
