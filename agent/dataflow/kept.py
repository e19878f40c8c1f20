"""What rules leave for the next run, as the file in the state directory holds it. Times are ms since 1970."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["COMPLETED", "FAILED", "CANCELED", "UNKNOWN"]  # Data Flow's own; UNKNOWN: followed for too long


class Intent(msgspec.Struct, kw_only=True):
    """A run that is meant, or under way; it stands on disk before Data Flow is asked for it."""

    before: dict[str, Any]  # what was known of the job's executions by then (`Before.to_dict`)
    objects: int  # those it is about
    began: int
    is_accepted: bool = False  # Data Flow has said that it runs it, and not yet under which id
    execution: str = ""  # Data Flow's id of it, once that is known


class Ended(msgspec.Struct, kw_only=True):
    """The last run that has ended."""

    execution: str
    outcome: Outcome
    objects: int
    began: int
    ended: int


class Kept(msgspec.Struct, kw_only=True):
    """The state of one rule."""

    waiting: int = 0  # objects stored since the last run was meant
    tick: int | None = None  # the last moment of `every` or `at` that was honoured
    day: str = ""  # the day that `runs` counts, as 2026-11-22
    runs: int = 0
    limit_told: str = ""  # the day whose limit was told of
    intent: Intent | None = None
    last: Ended | None = None

    def runs_on(self, day: str) -> int:
        """How many runs were meant on that day."""
        return self.runs if self.day == day else 0

    def mean(self, intent: Intent, day: str, tick: int | None) -> None:
        """A run is meant: so many of those that wait are what it is about."""
        self.day, self.runs = day, self.runs_on(day) + 1
        self.intent, self.waiting, self.tick = intent, self.waiting - intent.objects, tick

    def end(self, outcome: Outcome, now: int) -> Ended:
        """The run under way is over. Raises LookupError where there is none."""
        if self.intent is None:
            raise LookupError("there is no run under way")
        it, self.intent = self.intent, None
        self.last = Ended(execution=it.execution, outcome=outcome, objects=it.objects, began=it.began, ended=now)
        return self.last


class State(msgspec.Struct, kw_only=True):
    """All of it."""

    rules: dict[str, Kept] = {}
    noted: dict[str, list[str]] = {}  # by sink: the latest objects that were counted, the oldest first
