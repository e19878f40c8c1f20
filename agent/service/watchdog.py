"""
The watchdog: feeds systemd's only while every part of the agent gets on with its work.

It asks whether every loop finished an attempt, success or failure alike, within the time that loop
itself promised, and whether the spool's threads answer. An outage of days is no reason to restart
(each attempt ends, in failure); a loop that hangs is one, and so is an event loop that no longer
turns, because then this task does not either.

A thread in a slow fsync does not answer, and does not hang: it has WatchdogSec to answer, and is fed
for meanwhile, every third of that time. Once it has answered, whatever was withheld is given at once.

So with WatchdogSec=60 an fsync (or a stall of the disk) of up to 60 s restarts nothing. A thread that
hangs for good is asked within 20 s, found out 60 s later at the latest (by its promised beat or by the
question), and the last feeding was before that: systemd ends the process at most 140 s after the hang
began. For an event loop that hangs it is 60 s, for any other part 60 s after the time it had promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from agent.service.systemd import notify, watchdog_seconds
from agent.stats import Health

log = structlog.get_logger()

UNWATCHED_SECONDS = 60.0  # takes the place of WatchdogSec where no systemd asks: for the log and /health/live
SPOOL = "spool writer or another of its threads"  # the writer promises beats for itself besides


@dataclass(slots=True, kw_only=True)
class Watchdog:
    """
    Looks at the parts in turn. `alive` asks the spool's threads and may take its time or hang.

    `withheld` says why the watchdog is not fed, as of the last look; empty: all is well.
    """

    health: Health
    alive: Callable[[], Awaitable[bool]]
    withheld: str = ""

    async def run(self) -> None:
        """Work until cancelled."""
        limit = watchdog_seconds()
        patience = UNWATCHED_SECONDS if limit is None else limit
        pause = patience / 3
        clock = asyncio.get_running_loop().time
        while True:
            question = asyncio.ensure_future(self.alive())
            asked = clock()
            try:
                while not question.done():
                    await asyncio.wait({question}, timeout=pause)
                    self._look(hangs=not question.result() if question.done() else clock() - asked >= patience)
                    if limit is not None and not self.withheld:
                        notify("WATCHDOG=1")
            finally:
                question.cancel()
            await asyncio.sleep(pause)

    def _look(self, *, hangs: bool) -> None:
        """`hangs`: one of the spool's threads does not answer."""
        stuck = [f"{part.kind} {part.name}" for part in self.health.overdue()]
        if hangs and "spool writer" not in stuck:
            stuck.append(SPOOL)
        withheld = ", ".join(stuck)
        if withheld and withheld != self.withheld:
            log.error("a part hangs, the watchdog is not fed", parts=withheld)
        elif self.withheld and not withheld:
            log.warning("the part that hung goes on, the watchdog is fed again", parts=self.withheld)
        self.withheld = withheld
