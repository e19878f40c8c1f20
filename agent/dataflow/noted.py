"""A sink whose objects are counted: what it has taken counts as delivered once that is on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

from agent.ports import Limits, Parcel, Send, Sink
from agent.record import Run

Note = Callable[[str], Awaitable[None]]


class Noted:
    """
    The sink as delivery has it, with `note(id)` between the far side's word and delivery's.

    A crash between the two sends the same object once more, under the same id, and it is noted once. `note` raises a
    DeliveryError where it cannot be noted: then delivery does the same.
    """

    kind: ClassVar[str] = "noted"

    def __init__(self, sink: Sink, note: Note) -> None:
        self._sink = sink
        self._note = note

    @property
    def limits(self) -> Limits:
        return self._sink.limits

    def encode(self, run: Run) -> bytes:
        return self._sink.encode(run)

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return self._sink.pack(batch, newest_ms, data)

    def open(self) -> AbstractAsyncContextManager[Send]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Send]:
        async with self._sink.open() as send:

            async def noted(parcel: Parcel) -> None:
                await send(parcel)
                await self._note(parcel.id)

            yield noted
