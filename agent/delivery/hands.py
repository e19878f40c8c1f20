"""
What a sink has done in the threads that all sinks share: reading the spool, and what is made of it. What takes
next to no time and touches no file is done at once.

A read that fails is tried again, because the record it is for is still there: no descriptor is free
just now (EMFILE), the disk or the memory is in trouble (EIO, ENOMEM). A read that hangs is not for
this module to end, but `longest` lets the watchdog see it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

import structlog

from agent.spool import NotAtHand
from agent.stats import Part

log = structlog.get_logger()

T = TypeVar("T")

READ_AGAIN = 5.0
# CPU seconds that the loop can spare for a batch; the way to a thread and back takes a tenth of that.
BRIEF = 0.002
ENOUGH = 16  # records: what one takes alone says little of what many take


class Hands:
    """The jobs of one sink."""

    def __init__(self, name: str, pool: Executor, part: Part) -> None:
        self._name = name
        self._pool = pool
        self._part = part
        self._began: dict[object, float] = {}  # jobs in the pool, the oldest first
        self._failing: dict[object, str] = {}  # those that wait for another try, and why
        self._before = part.state, part.reason
        self._each = math.inf  # CPU seconds a record, of the last batch that was large enough to tell

    async def make(self, job: Callable[..., T], records: int) -> T:
        """
        What `job` makes of so many records, as `do`; on the event loop and at once where that will not hold it up.

        With `at_hand` the job touches no file, and raises NotAtHand where it would have to.
        """
        if self._each * records <= BRIEF:
            try:
                return self._timed(partial(job, at_hand=True), records)
            except NotAtHand:
                pass
        return await self.do(self._timed, job, records)

    async def do(self, job: Callable[..., T], *args: object) -> T:
        """What `job` gives; an OSError is said and waited out."""
        me = object()
        try:
            while True:
                try:
                    done = await self._try(me, job, args)
                except OSError as error:
                    self._failed(me, str(error))
                    await asyncio.sleep(READ_AGAIN)
                else:
                    self._succeeded(me)
                    return done
        finally:
            self._failing.pop(me, None)

    def longest(self) -> float:
        """For how many seconds the oldest try of a job has been under way; one that failed has ended."""
        now = asyncio.get_running_loop().time()
        return now - min(self._began.values(), default=now)

    async def _try(self, me: object, job: Callable[..., T], args: tuple[object, ...]) -> T:
        loop = asyncio.get_running_loop()
        self._began[me] = loop.time()
        try:
            return await loop.run_in_executor(self._pool, job, *args)
        finally:
            del self._began[me]

    def _timed(self, job: Callable[[], T], records: int) -> T:
        began = time.thread_time()
        try:
            return job()
        finally:
            if records >= ENOUGH:
                self._each = (time.thread_time() - began) / records

    def _failed(self, me: object, reason: str) -> None:
        if not self._failing:
            self._before = self._part.state, self._part.reason
        if reason not in self._failing.values():
            log.warning("sink cannot read the spool", sink=self._name, reason=reason, again_in=READ_AGAIN)
        self._failing[me] = reason
        self._part.become("down", f"cannot read the spool: {reason}")

    def _succeeded(self, me: object) -> None:
        if self._failing.pop(me, None) is not None and not self._failing:
            log.info("sink reads the spool again", sink=self._name)
            if self._part.reason.startswith("cannot read the spool: "):
                self._part.become(*self._before)
