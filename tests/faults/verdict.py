"""
What a row has cost, by the files of ids of publishers and receivers.

Publishers write down what their broker has acknowledged, receivers what they have stored. The difference is the
loss; the agent's own books are held against it and have no say in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.spool import Report

LOSSES = ("expired", "evicted", "dead", "damaged", "abandoned")


@dataclass(slots=True)
class Outcome:
    """What came of a row, over all its trials and receivers."""

    trials: int = 0
    sent: int = 0  # acknowledged to publishers, for each receiver that wants it
    stored: int = 0  # of these
    lost: int = 0  # of these
    strange: int = 0  # stored, and never sent
    twice: int = 0  # copies beyond the first, after the receiver has dropped batches it knows
    conflicts: int = 0  # other data under an id that was used before
    again: int = 0  # batches that came again under their id
    told: Counter[str] = field(default_factory=Counter)  # what the agent says it has lost, by fate
    notes: dict[str, Any] = field(default_factory=dict)  # further figures that a reader wants
    problems: list[str] = field(default_factory=list)  # what did not hold, beside the loss

    def add(self, other: Outcome) -> None:
        """Put that on top."""
        for name in ("trials", "sent", "stored", "lost", "strange", "twice", "conflicts", "again"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.told += other.told
        self.notes.update(other.notes)
        self.problems += other.problems

    def against(self, loss: Literal["none", "counted"]) -> list[str]:
        """What of the promise does not hold: nothing, where all does."""
        found = list(self.problems)
        told = sum(self.told.values())
        if loss == "none" and self.lost:
            found.append(f"{self.lost} of {self.sent} lost, where none may be")
        if self.lost != told:
            found.append(f"{self.lost} lost, and the agent says {told} ({dict(self.told)})")
        if self.strange:
            found.append(f"{self.strange} stored that nobody sent")
        if self.conflicts:
            found.append(f"{self.conflicts} times other data under a known id")
        if not self.sent:
            found.append("nothing was sent: this shows nothing")
        return found


def compared(
    sent: Iterable[str], stored: Mapping[str, int], *, told: Mapping[str, int], again: int = 0, conflicts: int = 0
) -> Outcome:
    """One trial at one receiver: the ids it was to get, and how often it has each."""
    wanted = set(sent)
    there = {each for each, count in stored.items() if count}
    return Outcome(
        trials=0,
        sent=len(wanted),
        stored=len(wanted & there),
        lost=len(wanted - there),
        strange=len(there - wanted),
        twice=sum(count - 1 for count in stored.values() if count),
        conflicts=conflicts,
        again=again,
        told=Counter({fate: count for fate, count in told.items() if count}),
    )


def told_by(report: Report, sink: str) -> Counter[str]:
    """What the agent itself says it has lost for a sink, out of its books; what intake refused counts for each."""
    told: Counter[str] = Counter()
    for cursor in report.cursors:
        if cursor.sink == sink:
            told.update({fate: getattr(cursor.ledger, fate) for fate in LOSSES})
    told["refused"] = report.dead_letters.get("intake", 0) + report.dead_dropped.get("intake", 0)
    return Counter({fate: count for fate, count in told.items() if count})
