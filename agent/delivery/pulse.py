"""Something has changed: whoever waits looks again."""

from __future__ import annotations

import asyncio


class Pulse:
    """Wakes everybody who waits just then. What is waited for is a condition of their own, checked again each time."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def stir(self) -> None:
        """Wake them."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def wait(self) -> None:
        """Return at the next `stir`. Nothing is missed between a check and this call if no await lies between."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
