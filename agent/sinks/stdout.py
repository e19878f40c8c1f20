"""Prints records: a line each, or indented to be read. The smallest sink, to look at things and to copy."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
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
        """Keep the one thread that writes, so that no two batches mix."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "stdout-sink")

        async def send(parcel: Parcel) -> None:
            given_up = Event()
            try:
                await loop.run_in_executor(thread, _write, sys.stdout.fileno(), parcel.body, given_up)
            except OSError as error:
                raise Retryable(f"standard output: {error.strerror}", operator=True) from error
            finally:
                given_up.set()

        try:
            yield send
        finally:
            # A write that was given up ends before anybody else may begin.
            await asyncio.to_thread(thread.shutdown)


def _write(fd: int, body: bytes, given_up: Event) -> None:
    """Write all of it, but do not outlast the one who waits for it where nobody reads."""
    left = memoryview(body)
    while left and not given_up.is_set():
        if select.select([], [fd], [], 0.1)[1]:
            left = left[os.write(fd, left[:PIPE_BUF]) :]
