"""Where emissions wait while nothing may be taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Storing = Callable[[], "asyncio.Future[None]"]


class Gate:
    """Open, as a rule. What comes while it is shut goes in, in its order, when it opens."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Storing, asyncio.Future[None]]] = []
        self.is_shut = False

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Shut it for as long as the block lasts."""
        self.is_shut = True
        try:
            yield
        finally:
            self.is_shut = False
            waiting, self._waiting = self._waiting, []
            for store, answer in waiting:
                _go_in(store, answer)

    def wait(self, store: Storing) -> asyncio.Future[None]:
        """What `store` will give once the gate is open again."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((store, answer))
        return answer


def _go_in(store: Storing, answer: asyncio.Future[None]) -> None:
    if answer.done():
        return  # whoever waits for it has given up: it was never taken

    def pass_on(stored: asyncio.Future[None]) -> None:
        if answer.done():
            return
        if stored.cancelled():
            answer.cancel()
        elif (error := stored.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(None)

    try:
        store().add_done_callback(pass_on)
    except Exception as bug:  # noqa: BLE001 - it is for the one who emitted
        answer.set_exception(bug)
