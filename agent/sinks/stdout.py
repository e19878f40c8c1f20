"""Prints records: a line each, or indented to be read. The smallest sink, to look at things and to copy."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Event
from typing import ClassVar, Literal

import msgspec

from agent.errors import Retryable
from agent.ports import Limits, Parcel, Send
from agent.record import Run
from agent.schema import option

PIPE_BUF = 4096  # as much as a pipe that is ready takes without blocking


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdout:
    """Standard output."""

    kind: ClassVar[str] = "stdout"

    format: Literal["ndjson", "pretty"] = option(
        "A line each (`ndjson`), or indented over several (`pretty`).", "ndjson"
    )

    @property
    def limits(self) -> Limits:
        return Limits()

    def encode(self, run: Run) -> bytes:
        """The records, each with its line break."""
        records = run.records()
        if self.format == "pretty":
            records = [msgspec.json.format(record, indent=2) for record in records]
        return b"\n".join([*records, b""])

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Nothing to hold but the wish to stop."""
        stopped = Event()

        async def send(parcel: Parcel) -> None:
            try:
                await asyncio.to_thread(_write, sys.stdout.fileno(), parcel.body, stopped)
            except OSError as error:
                raise Retryable(f"standard output: {error.strerror}", operator=True) from error

        try:
            yield send
        finally:
            stopped.set()


def _write(fd: int, body: bytes, stopped: Event) -> None:
    """Write all of it, but do not outlast the agent where nobody reads."""
    left = memoryview(body)
    while left and not stopped.is_set():
        if select.select([], [fd], [], 0.1)[1]:
            left = left[os.write(fd, left[:PIPE_BUF]) :]
