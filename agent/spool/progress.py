"""Says that recovery goes on, so that whoever waits for a long one knows it from one that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 2.0


class Progress:
    """Told by the thread that reads, piece by piece; passes on one word in a while."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say
        self._text = ""
        self._next = 0.0

    def at(self, text: str) -> None:
        """What is being done from here on."""
        self._text = text
        self.tick()

    def tick(self) -> None:
        """A piece is done."""
        if self._say is not None and (now := time.monotonic()) >= self._next:
            self._next = now + EVERY_SECONDS
            self._say(self._text)
