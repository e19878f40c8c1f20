"""How a collector fares that may hold two sessions: it is up when both are, and its next beat is the earlier one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from agent.stats import Part


@dataclass(slots=True)
class Shared:
    """What the sessions of one collector report to."""

    part: Part
    troubles: dict[str, tuple[Literal["down", "refusing"], str] | None] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """One session's say in it."""

    session: str
    shared: Shared

    def up(self) -> None:
        """The session works."""
        self._report(None)

    def down(self, state: Literal["down", "refusing"], reason: str) -> None:
        """The session does not work."""
        self._report((state, reason))

    def _report(self, trouble: tuple[Literal["down", "refusing"], str] | None) -> None:
        self.shared.troubles[self.session] = trouble
        worst = next(filter(None, self.shared.troubles.values()), None)
        if worst is not None:
            self.shared.part.become(*worst)
        else:
            self.shared.part.become("up")

    def beat(self, within: float) -> None:
        """An attempt of this session has ended; its next one ends within that many seconds."""
        now = time.monotonic()
        self.shared.due[self.session] = now + within
        self.shared.part.beat(min(self.shared.due.values()) - now)
