"""A loop whose clock skips the time in which nothing would happen. Sockets, files and threads stay real."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Threads (the spool's, the pool's) get this long to speak up before the clock skips to the next timer.
GRACE = 0.004


class SkippingSelector(selectors.DefaultSelector):
    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= GRACE:
            return super().select(timeout)
        events = super().select(GRACE)
        if not events:
            self.skipped += timeout - GRACE
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def until(condition: Callable[[], object], *, within: float = 60.0, step: float = 0.02) -> None:
    """Wait for a condition, in the loop's time."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(step)


async def soon(work: Awaitable[T], within: float = 60.0) -> T:
    async with asyncio.timeout(within):
        return await work


async def later(seconds: float) -> None:
    """Let the loop's time pass."""
    await asyncio.sleep(seconds)
