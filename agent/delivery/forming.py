"""When new batches are formed: ahead of the sender by a few, whole ones if they come soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.delivery.batches import Batches
from agent.delivery.piece import Piece
from agent.delivery.pulse import Pulse
from agent.delivery.verdict import Verdict
from agent.ports import Limits
from agent.spool import Cursor

AHEAD = 4  # batches planned in one save under backlog, beyond those about to be sent
GLANCE = 0.5  # while a batch fills, its bytes are looked at this often


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
            admit(await self._batches.form(self._low + AHEAD - verdict.untried()))
            self._formed_at = asyncio.get_running_loop().time()
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
        until = self._formed_at + self._limits.linger
        while not self.hurry and (left := until - clock()) > 0 and not self._batches.is_full(cursor):
            try:
                async with asyncio.timeout(min(left, GLANCE)):
                    await cursor.lane.wait(cursor.planned_end + self._limits.records - 1)
            except TimeoutError:
                continue
