"""The threads that read segments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

THREADS = 2
_LOOK_SECONDS = 0.02

P = ParamSpec("P")
T = TypeVar("T")


class Readers(ThreadPoolExecutor):
    """A pool that knows what it is at: one thread that hangs shows, whatever the others do."""

    def __init__(self) -> None:
        super().__init__(THREADS, "spool-read")
        self._calls: set[Future[Any]] = set()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it on one of the threads."""
        future = super().submit(function, *args, **kwargs)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    async def alive(self) -> None:
        """Return once all that was asked of the threads before is done."""
        waiting = self._calls.copy()
        while not waiting.isdisjoint(self._calls.copy()):  # noqa: ASYNC110 - it is the threads that end them
            await asyncio.sleep(_LOOK_SECONDS)
