"""A loop whose clock skips the time in which nothing would happen. Sockets, files and threads stay real."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# Between two ends of a socket on this machine nothing takes longer.
GRACE = 0.0005


class SkippingSelector(selectors.DefaultSelector):
    """Does not wait for timers, only for threads at work and for sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self.at_work: set[asyncio.Future[Any]] = set()
        self.busy: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= GRACE or self.at_work or self.busy():
            return super().select(timeout)
        events = super().select(GRACE)
        if not events:
            self.skipped += timeout - GRACE
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skipping = SkippingSelector()
        super().__init__(self.skipping)

    def time(self) -> float:
        return super().time() + self.skipping.skipped

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self.skipping.at_work.add(future)
        future.add_done_callback(self.skipping.at_work.discard)
        return future


def busy_while(condition: Callable[[], bool]) -> None:
    """Time is real while that holds: a thread is at work that the loop does not know of."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualLoop):
        loop.skipping.busy = condition


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
    """Await it, but not for ever."""
    async with asyncio.timeout(within):
        return await work


async def later(seconds: float) -> None:
    """Let the loop's time pass."""
    await asyncio.sleep(seconds)
