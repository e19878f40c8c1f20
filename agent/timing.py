"""When to do a thing again: try what failed, sample, tell of what goes on. Pure, no clock of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

SOON, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """
    Full-jitter exponential backoff, in seconds.

    The delay is anywhere between nothing and the ceiling, so that a thousand agents which lost the
    same far side do not come back in step.
    """

    first: float = 1.0
    cap: float = 60.0
    factor: float = 2.0

    def ceiling(self, attempt: int) -> float:
        """The longest delay before try number `attempt` + 1 (attempts count from 0)."""
        # We retry for days: unclamped, 2.0 ** 1024 is an OverflowError.
        return min(self.cap, self.first * self.factor ** min(attempt, 64))

    def delay(self, attempt: int, rng: Random) -> float:
        """A delay for this attempt."""
        return rng.uniform(0.0, self.ceiling(attempt))


@dataclass(slots=True)
class Seldom:
    """
    When to tell of what may go on for days: at once, soon again, then less and less often, once an hour at last.

    So a burst takes two lines, a day at most some thirty. After two hours without a word it begins anew.
    """

    pause: float = SOON
    said: float = -math.inf

    def is_due(self, now: float) -> bool:
        """Whether it is time; if so it counts as told. `now` in seconds, of any one clock."""
        since = now - self.said
        if since < self.pause:
            return False
        self.pause = SOON if since > 2 * HOUR else min(4 * self.pause, HOUR)
        self.said = now
        return True


def ticks(interval: float, start: float) -> Iterator[float]:
    """Moments `start`, `start + interval`, ...: computed from the start, so that they never drift."""
    n = 0
    while True:
        yield start + n * interval
        n += 1


def next_tick(interval: float, start: float, now: float) -> tuple[float, int]:
    """The first tick after `now`, and how many ticks lie between start and it (to count missed ones)."""
    n = int((now - start) // interval) + 1 if now >= start else 0
    return start + n * interval, n
