"""
The head mark: what a lane knows about itself beside its segments.

How far it is durable (so that a lost tail shows), which cursors it has and how far they are (so that a
deleted one shows), and which deliveries each origin has proven to its broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from agent.spool.mark import Mark, room

NAME = "head"
SLOT_BYTES = 16 * 1024  # room for some two hundred cursors and origins
_LONGEST = 10**14  # milliseconds: the wall time is put in last


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a head mark says."""

    lane: str = ""  # whose it is
    instance: str = ""  # the state directory's, once more: a name that changes costs broker sessions
    head: int = 0  # the index after the last durable record
    segment: int = 0  # id of the segment that was written to
    group: int = 0  # number of the last commit, over all lanes
    wall_ms: int = 0  # the latest believed time
    claims_from: int = 0  # no commit up to this one holds a packet whose acknowledgement is in doubt
    acked: Mapping[str, int] = field(default_factory=dict)  # origin -> the same, for that origin alone
    cursors: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # sink -> start, position

    def encoded(self) -> dict[str, Any]:
        """What the slot holds."""
        return {
            "lane": self.lane,
            "instance": self.instance,
            "head": self.head,
            "segment": f"{self.segment:016x}",
            "group": self.group,
            "wall_ms": self.wall_ms,
            "claims_from": self.claims_from,
            "acked": dict(self.acked),
            "cursors": dict(self.cursors),
        }


def fitted(head: Head) -> Head:
    """
    As much of it as the slot has room for.

    The oldest claims go first: a redelivery that matches one is stored twice then. Of the cursors those
    left out are no longer missed where somebody deletes their files.
    """
    while len(orjson.dumps(replace(head, wall_ms=_LONGEST).encoded())) > room(SLOT_BYTES):
        if head.acked:
            floor = sorted(head.acked.values())[len(head.acked) // 2]
            acked = {origin: group for origin, group in head.acked.items() if group > floor}
            head = replace(head, claims_from=max(head.claims_from, floor), acked=acked)
        else:
            keep = len(head.cursors) * 7 // 8
            head = replace(head, cursors=dict(list(head.cursors.items())[:keep]))
    return head


def mark_of(directory: Path) -> Mark:
    """The head mark of a lane."""
    return Mark(directory / NAME, SLOT_BYTES)


def decoded(value: Mapping[str, Any]) -> Head | None:
    """A head out of its slot; None where what it says cannot be."""
    try:
        return Head(
            lane=str(value.get("lane", "")),
            instance=str(value.get("instance", "")),
            head=int(value["head"]),
            segment=int(value["segment"], 16),
            group=int(value["group"]),
            wall_ms=int(value["wall_ms"]),
            claims_from=int(value["claims_from"]),
            acked={str(origin): int(group) for origin, group in value["acked"].items()},
            cursors={str(sink): (int(start), int(at)) for sink, (start, at) in value["cursors"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
