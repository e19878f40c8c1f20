"""
The watchdog: feeds systemd's only while every part of the agent gets on with its work.

It asks whether every loop finished an attempt, success or failure alike, within the time that loop
itself promised, and whether the spool's writer thread answers. An outage of days is no reason to
restart (each attempt ends, in failure); a loop that hangs is one, and so is an event loop that no
longer turns, because then this task does not either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from agent.service.systemd import notify, watchdog_seconds
from agent.stats import Health

log = structlog.get_logger()

UNWATCHED_SECONDS = 20.0  # how often it looks where no systemd asks: for the log and /health/live


@dataclass(slots=True, kw_only=True)
class Watchdog:
    """
    Looks at the parts in turn. `alive` asks the spool's writer thread and may take its time or hang.

    `withheld` says why the watchdog is not fed, as of the last look; empty: all is well.
    """

    health: Health
    alive: Callable[[], Awaitable[bool]]
    withheld: str = ""

    async def run(self) -> None:
        """Work until cancelled."""
        limit = watchdog_seconds()
        # A third, because a look takes up to as long again as the pause before it: two thirds at most.
        pause = UNWATCHED_SECONDS if limit is None else limit / 3
        while True:
            await self._look(pause)
            if limit is not None and not self.withheld:
                notify("WATCHDOG=1")
            await asyncio.sleep(pause)

    async def _look(self, patience: float) -> None:
        stuck = [f"{part.kind} {part.name}" for part in self.health.overdue()]
        if not await self._answers(patience):
            stuck.append("spool writer")
        withheld = ", ".join(stuck)
        if withheld and withheld != self.withheld:
            log.error("a part hangs, the watchdog is not fed", parts=withheld)
        elif self.withheld and not withheld:
            log.warning("the part that hung goes on, the watchdog is fed again", parts=self.withheld)
        self.withheld = withheld

    async def _answers(self, patience: float) -> bool:
        try:
            async with asyncio.timeout(patience):
                return await self.alive()
        except TimeoutError:
            return False
