"""
The cursors of sinks that are configured no more: how long they still hold their records.

The wait is counted by the wall clock, from the moment it can be believed. What somebody sets the clock
by is no time that has passed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.spool.clock import BUILT_MS, Clock
from agent.spool.cursor import Cursor


@dataclass(slots=True, eq=False)
class Retired:
    """Asked once a second, on the loop."""

    cursors: list[Cursor]
    clock: Clock
    after: float  # seconds
    _distance: int = field(init=False)

    def __post_init__(self) -> None:
        self._distance = self.clock.distance()

    def due(self) -> list[Cursor]:
        """Those that have waited long enough; they are not given out again."""
        step = self.clock.distance() - self._distance
        self._distance += step
        believed, now = self.clock.credible(), self.clock.now()
        out = []
        for cursor in self.cursors:
            since = cursor.retired_ms
            if step and since is not None:
                since += step
            if believed and (since is None or not BUILT_MS <= since <= now):
                since = now  # not stamped yet, or by a clock that was wrong
            if since != cursor.retired_ms:
                cursor.retired_ms = since
                cursor.touch()
            if believed and since is not None and now - since >= self.after * 1000:
                out.append(cursor)
        self.cursors = [cursor for cursor in self.cursors if cursor not in out]
        return out
