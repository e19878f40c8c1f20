"""
When new batches are formed: ahead of the sender by a few, whole ones if they come soon.

As a rule a batch waits for `linger` to fill, the first after a quiet time not at all. A sink with a
`window` gets what was taken in within one such stretch of time together, once it is over; the read
itself says so (`NotYet`), by the clocks that reckon the records' ages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from agent.delivery.batches import Batches
from agent.delivery.piece import Piece
from agent.delivery.pulse import Pulse
from agent.delivery.verdict import Verdict
from agent.ports import Limits
from agent.spool import Cursor, NotYet, Stretch

AHEAD = 4  # batches planned in one save under backlog, beyond those about to be sent
GLANCE = 0.5  # while a batch fills, its bytes are looked at this often
# While a window is open: this often in its course.
WINDOW_GLANCES = 20

# What was taken in just before the end of a window is on disk by then: a part of the window's length.
SETTLE, LONGEST_SETTLE = 1 / 60, 1.0
# A thousand agents do not all send as the minute begins.
PHASE, LONGEST_PHASE = 1 / 4, 15.0


def stretch_of(window: float, rng: Random) -> Stretch | None:
    """How a sink's batches keep to its window, with a delay that is this delivery's own; None: it has no window."""
    if not window:
        return None
    least = min(window * SETTLE, LONGEST_SETTLE)
    delay = rng.uniform(least, min(window * PHASE, LONGEST_PHASE))
    return Stretch(max(1, round(window * 1000)), round(delay * 1000))


class Forming:
    """Keeps the verdict in new pieces. `hurry`: the agent is stopping, no batch is waited for to fill."""

    def __init__(self, batches: Batches, limits: Limits, pulse: Pulse) -> None:
        self.hurry = False
        self._batches = batches
        self._limits = limits
        self._pulse = pulse
        self._low = max(2, limits.in_flight)
        self._formed_at = -float("inf")

    async def run(self, verdict: Verdict, admit: Callable[[list[Piece]], None]) -> None:
        """Work until cancelled."""
        while True:
            while not self._is_hungry(verdict):
                await self._pulse.wait()
            await self._gather(self._batches.source)
            most = self._low + AHEAD - verdict.untried()
            admit(await self._batches.form(most, hurry=self.hurry))
            self._formed_at = asyncio.get_running_loop().time()
            if self._batches.held is not None:
                await self._hold(self._batches.held)
            await asyncio.sleep(0)

    def _is_hungry(self, verdict: Verdict) -> bool:
        if verdict.probing and sum(not piece.isolating for piece in verdict.pieces) >= self._low + AHEAD:
            return False  # enough to try one after the other; the rest waits unplanned
        return verdict.untried() < self._low and self._batches.has_room()

    async def _gather(self, cursor: Cursor) -> None:
        """Wait for records: for the first at once after a quiet time, else for a whole batch or `linger`."""
        if cursor.end is not None:
            return
        clock = asyncio.get_running_loop().time
        await cursor.lane.wait(cursor.planned_end)
        if self._limits.window:
            return
        until = self._formed_at + self._limits.linger
        while not self.hurry and (left := until - clock()) > 0 and not self._batches.is_full(cursor):
            try:
                async with asyncio.timeout(min(left, GLANCE)):
                    await cursor.lane.wait(cursor.planned_end + self._limits.records - 1)
            except TimeoutError:
                continue

    async def _hold(self, held: NotYet) -> None:
        """Wait until the window of these records is over, unless they fill a batch before."""
        clock = asyncio.get_running_loop().time
        until = clock() + held.seconds
        glance = max(GLANCE, self._limits.window / WINDOW_GLANCES) if held.grows else held.seconds
        while not self.hurry and (left := until - clock()) > 0 and self._is_part(held):
            try:
                async with asyncio.timeout(min(left, glance)):
                    await self._pulse.wait()
            except TimeoutError:
                continue

    def _is_part(self, held: NotYet) -> bool:
        """Whether these are not a whole batch yet, as far as can be told without reading."""
        lane = self._batches.source.lane
        if not held.grows or lane.head <= held.end:
            return True
        new = lane.bytes_between(held.end, lane.head)
        return lane.head - held.first < self._limits.records and new < held.room
