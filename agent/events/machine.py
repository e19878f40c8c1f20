"""
Whether one rule fires for one set of tags: a state machine that samples drive, and nothing else.

              the condition has held over samples for `for`
       clear ───────────────────────────────────────────────▸ firing
         ◂──────────────────────────────────────────────────
                        the clear condition holds
                 (neither before `min_hold` is over)

Pure: the clock is the samples' own. A sample counts at its record's time, but never later than it arrived, so
that a device whose clock is ahead cannot hold anything up; one older than the newest seen is late and says
nothing. Where the agent's clock is set back, everything remembered is set back with it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

HOUR_MS = 3_600_000


@dataclass(slots=True, eq=False)
class Instance:
    """One rule over one set of tags. Times are milliseconds since 1970."""

    is_firing: bool = False
    began: int | None = None  # firing: when the condition had begun to hold
    asked: int | None = None  # since when samples have asked for the other state, without a break
    changed: int | None = None  # when the state changed last
    newest: int | None = None  # the time of the newest sample
    arrived: int = 0  # when that came in

    def take(self, *, asks: bool, at: int, arrival: int, lasting: int, hold: int) -> bool:
        """
        Take a sample that asks for the other state, or does not; gives whether the state has changed.

        `lasting`: how long the samples must have asked before it fires; `hold`: how long a state is kept.
        """
        if arrival < self.arrived:
            self._set_back(self.arrived - arrival)
        self.arrived = arrival
        at = min(at, arrival)
        if self.newest is not None and at < self.newest:
            return False
        self.newest = at
        if not asks:
            self.asked = None
            return False
        if self.asked is None:
            self.asked = at
        if at - self.asked < (0 if self.is_firing else lasting):
            return False
        if self.changed is not None and at - self.changed < hold:
            return False
        self.is_firing = not self.is_firing
        self.began = self.asked if self.is_firing else self.began
        self.asked, self.changed = None, at
        return True

    def is_resting(self, now: int, hold: int) -> bool:
        """Whether forgetting it would lose nothing but the order of samples."""
        held = self.changed is not None and now - self.changed < hold
        return not self.is_firing and self.asked is None and not held

    def _set_back(self, by: int) -> None:
        for name in ("began", "asked", "changed", "newest"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value - by)


@dataclass(slots=True, eq=False)
class Budget:
    """How many events a rule has left: at most so many within any hour."""

    most: int
    spent: deque[int] = field(default_factory=deque)  # when, ms

    def take(self, now: int) -> bool:
        """Take one, if there is one left."""
        spent = self.spent
        # What lies ahead was spent before the clock was set back.
        while spent and not now - HOUR_MS < spent[0] <= now:
            spent.popleft()
        if len(spent) >= self.most:
            return False
        spent.append(now)
        return True
