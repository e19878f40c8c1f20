"""The keeper's thread: cursors, head marks and everything else beside the log that touches the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import structlog

from agent.spool.mark import Mark
from agent.spool.settings import Durability

log = structlog.get_logger()

RETRY_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class Keeper:
    """
    Writes marks, one at a time. A write that fails is tried again until it succeeds or the spool closes:
    whoever waits for it waits that long, because nothing may be sent under a name that is not durable.
    """

    def __init__(self, durability: Durability) -> None:
        self._strict = durability == "strict"
        self._syncs = durability != "none"
        self._pool = ThreadPoolExecutor(1, "spool-keeper")
        self._unsynced: set[Mark] = set()
        self._closing = asyncio.Event()
        self.trouble: str | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it on the keeper's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    async def write(self, mark: Mark, value: Mapping[str, Any]) -> bool:
        """Write a mark, as durable as the setting asks; False where the spool closes before that succeeds."""
        while True:
            if await self.attempt(mark, value):
                return True
            if self._closing.is_set():
                return False
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                pass

    async def attempt(self, mark: Mark, value: Mapping[str, Any]) -> bool:
        """The same with one try."""
        try:
            await self.call(mark.write, value, sync=self._strict)
        except OSError as error:
            self._failed(mark, error)
            return False
        if not self._strict:
            self._unsynced.add(mark)
        self._succeeded()
        return True

    async def sync(self) -> None:
        """Make durable what was written without a sync. Raises OSError."""
        if not self._syncs:
            return
        waiting, self._unsynced = self._unsynced, set()
        for mark in waiting:
            try:
                await self.call(mark.sync)
            except OSError:
                # Written again from what is known, through a fresh descriptor.
                self._unsynced.add(mark)
                mark.close()
                if mark.value is not None:
                    await self.call(mark.write, mark.value)

    def closing(self) -> None:
        """From now on every write gets one try."""
        self._closing.set()

    def close(self) -> None:
        """End the thread. Blocks until its last call has returned."""
        self._pool.shutdown()

    def _failed(self, mark: Mark, error: OSError) -> None:
        if self.trouble is None:
            log.error("spool cannot write its marks, delivery waits", file=str(mark.path), reason=str(error))
        self.trouble = str(error)

    def _succeeded(self) -> None:
        if self.trouble is not None:
            log.warning("spool writes its marks again", after=self.trouble)
            self.trouble = None
