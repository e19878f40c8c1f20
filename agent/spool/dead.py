"""The built-in reader of the dead lane: it moves dead letters from the log into their files, and has those in hand."""

from __future__ import annotations

import asyncio

import structlog

from agent.spool.cursor import Cursor
from agent.spool.keeper import Keeper
from agent.spool.lane import Gap
from agent.spool.ledger import State
from agent.spool.letters import Letters
from agent.spool.shelf import Shelf
from agent.stats import Stats
from agent.timing import Seldom

log = structlog.get_logger()

LANE = "dead"
SINK = "dead-letters"
_AT_ONCE = 500, 1 << 20
_PAUSE_SECONDS = 1.0  # between two writes: letters may come by the hundred a second
_RETRY_SECONDS = 5.0


class Drain:
    """Reads the dead lane like any sink does."""

    def __init__(self, cursor: Cursor, letters: Letters, keeper: Keeper, stats: Stats) -> None:
        self._cursor = cursor
        self._letters = letters
        self._keeper = keeper
        self._busy = asyncio.Lock()
        self._written = stats.counter("agent_dead_letters_total", "Dead letters written to their files.")
        self._loaded = False
        self._trouble = False
        self._dropped, self._dropped_said = 0, Seldom()  # since that was last said

    async def run(self) -> None:
        """Work until cancelled."""
        cursor = self._cursor
        while True:
            await cursor.lane.wait(cursor.position)
            try:
                async with self._busy:
                    await self._some()
            except OSError as error:
                if not self._trouble:
                    log.error("dead letters cannot be written, they wait in the spool", reason=str(error))
                self._trouble = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                if self._trouble:
                    log.warning("dead letters are written again")
                self._trouble = False
                if cursor.lane.head - cursor.position < _AT_ONCE[0]:
                    # After a flood there is no pause: until they are in their files, letters take the records' room.
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def give_up(self, end: int) -> None:
        """Be done with everything below `end`, counted but not kept: the spool needs the room."""
        async with self._busy:
            while self._cursor.position < end:
                await self._some(keep=False)
        await self._cursor.save()

    async def finish(self) -> None:
        """Move what is left. At the end of the run."""
        async with self._busy:
            while self._cursor.position < self._cursor.lane.head:
                await self._some()

    async def shelf(self) -> Shelf:
        """All letters there are, those that waited in the log included. Raises OSError where these cannot be moved."""
        async with self._busy:
            await self._load()
        await self.finish()
        return Shelf(self._letters, self._keeper.call)

    async def _load(self) -> None:
        if not self._loaded:
            done = await self._keeper.call(self._letters.load)
            self._cursor.book(min(done, self._cursor.lane.head) - self._cursor.position, State.DELIVERED)
            self._loaded = True

    async def _some(self, *, keep: bool = True) -> None:
        cursor, keeper = self._cursor, self._keeper
        await self._load()
        found = await cursor.lane.read(cursor.position, *_AT_ONCE)
        if found is None:
            return
        if isinstance(found, Gap):
            cursor.book(found.count, found.state)
            return
        if keep:
            await keeper.call(self._letters.append, found.first, found.records())
            self._written.add(found.count)
        else:
            await keeper.call(self._letters.drop, found.first, found.records())
            self._dropped += found.count
            if self._dropped_said.is_due(asyncio.get_running_loop().time()):
                log.error("the spool is full, dead letters are dropped", records=self._dropped)
                self._dropped = 0
        cursor.book(found.count, State.DELIVERED if keep else State.EVICTED)
