"""Dead letters in their files, looked through and taken out from the event loop, beside a running agent or alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from agent.spool.letter_files import Chunk, Place, Standing
from agent.spool.letters import Letters
from agent.spool.lines import Fate
from agent.spool.state import held


class Call(Protocol):
    """Runs something that blocks, in a thread. No two calls touch the files at the same time."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """What the function gives."""


class Shelf:
    """What is there at the moment this is made; what comes later is for the next time."""

    def __init__(self, letters: Letters, call: Call) -> None:
        self._letters = letters
        self._call = call
        self._end = letters.next
        self._untidy: set[str] = set()

    async def chunks(self) -> AsyncIterator[list[Standing]]:
        """
        The letters, the oldest first, some at a time. They can be taken out until the next chunk is asked for.

        A file that is left behind gives back the room of what was taken out of it.
        """
        place = Place()
        while True:
            chunk: Chunk | None = await self._call(self._letters.read, place)
            if place.file in self._untidy and (chunk is None or chunk.following.file != place.file):
                await self._call(self._letters.tidy, place.file)
            if chunk is None:
                return
            place = chunk.following
            if chunk.untidy:
                self._untidy.add(place.file)
            yield [one for one in chunk.letters if one.seq < self._end]

    async def take_out(self, letters: Sequence[Standing], fate: Fate) -> None:
        """Be done with these: from now on they count as replayed or dropped. Durable on return."""
        self._untidy.update(one.file for one in letters)
        await self._call(self._letters.take_out, letters, fate)


@contextmanager
def alone(directory: Path, version: str) -> Iterator[Shelf]:
    """The letters of a state directory that no agent works in. Raises a StateError; blocks a little."""
    with held(directory, version, 0):
        letters = Letters(directory / "dead-letters", max_bytes=0, max_age=math.inf, sync=True, now=time.time)
        letters.load()
        try:
            yield Shelf(letters, asyncio.to_thread)
        finally:
            letters.close()
