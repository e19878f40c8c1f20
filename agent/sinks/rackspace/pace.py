"""
How fast events may go: so many a minute with a small burst, less where the far side's limits leave less.

The limit there is the tenant's and shared by every agent, so each keeps to a small part of it by itself. First
tries, retries and replays all pass here.
"""

from __future__ import annotations

import asyncio

from agent.errors import Throttled

MAX_BURST = 10
# Longer than this nobody is kept waiting inside a send, which delivery ends after ten minutes.
MAX_WAIT = 300.0


class Pace:
    """A token bucket as the moment at which the next event is due (the generic cell rate algorithm)."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._interval = 60.0 / per_minute
        # A tenth of a minute's worth, so that a few events at once need not wait for each other.
        self._burst = max(1.0, min(MAX_BURST, per_minute / 10))
        self._due = 0.0  # by the loop's clock: when the next event would be due at an even pace
        self._slow_interval = 0.0
        self._slow_until = 0.0
        self._closed_until = 0.0

    async def turn(self) -> None:
        """Wait for a turn. Raises Throttled where that takes too long to wait here."""
        now = asyncio.get_running_loop().time()
        wait, interval = self.at(now) - now, self._interval_at(now)
        if wait > MAX_WAIT:
            raise Throttled("the tenant's limit is used up", retry_after=wait)
        self.charge(now)
        try:
            await asyncio.sleep(max(wait, 0.0))
        except asyncio.CancelledError:
            self._due -= interval  # not used: the next in the row may have it
            raise

    def at(self, now: float) -> float:
        """When an event may go that asks now."""
        ahead = 0.0 if now < self._slow_until else (self._burst - 1) * self._interval
        return max(now, self._due - ahead, self._closed_until)

    def charge(self, now: float) -> None:
        """An event goes, or has gone without a turn: those after it wait the longer."""
        self._due = max(self._due, now, self._closed_until) + self._interval_at(now)

    def slow_down(self, per_second: float, seconds: float, now: float) -> None:
        """No faster than that for so long; never faster than it was made for."""
        self._slow_interval, self._slow_until = 1.0 / per_second, now + seconds

    def close(self, seconds: float, now: float) -> None:
        """Nothing for so long."""
        self._closed_until = max(self._closed_until, now + seconds)

    def _interval_at(self, now: float) -> float:
        return max(self._interval, self._slow_interval) if now < self._slow_until else self._interval
