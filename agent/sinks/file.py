"""
Appends records to a file, a line each, and rotates it: NAME.1 is the newest of the former ones.

Nothing is held open between batches, so the file may be moved away at any time. What a batch leaves half
written is cut off again. The ids of the latest batches stand in NAME.batches: a batch that comes again
after a crash is not written twice, unless the crash fell between the file and that list.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from agent.errors import Retryable
from agent.ports import Limits, Parcel, Send
from agent.record import Run
from agent.schema import Size, option

T = TypeVar("T")

REMEMBERED = 256  # batches; fewer than that are ever unsettled at a time
_FOR_A_PERSON = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of newline-delimited JSON."""

    kind: ClassVar[str] = "file"

    path: Path = option(
        "The file, of this sink alone; its directory must exist.",
        example="/var/log/telemetry-agent/records.ndjson",
        not_shared=True,
    )
    max_bytes: Size = option("It is rotated before it grows larger.", 64 << 20, low=1)
    keep: int = option("How many former files are kept.", 5, low=0)
    compress: bool = option("Whether former files are compressed.", False)
    fsync: bool = option("Whether a batch counts as delivered only once it survives a power cut.", True)

    def warnings(self) -> list[tuple[str, str]]:
        """A directory that is not there may yet be mounted, so it is no mistake."""
        folder = self.path.parent
        return [] if os.path.isdir(folder) else [("path", f"{folder} is no directory: nothing is written until it is")]

    @property
    def limits(self) -> Limits:
        return Limits()

    def encode(self, run: Run) -> bytes:
        """The records, a line each."""
        return b"\n".join([*run.records(), b""])

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Keep the one thread that writes."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "file-sink")

        async def in_thread(job: Callable[..., T], *args: object) -> T:
            try:
                return await loop.run_in_executor(thread, job, *args)
            except OSError as error:
                reason = f"{error.filename or self.path}: {error.strerror}"
                raise Retryable(reason, operator=isinstance(error, _FOR_A_PERSON)) from error

        async def send(parcel: Parcel) -> None:
            await in_thread(self._take, parcel, done)

        try:
            done = await in_thread(self._batches)
            yield send
        finally:
            # A write under way ends before anybody else may open the file.
            await asyncio.to_thread(thread.shutdown)

    def _take(self, parcel: Parcel, done: deque[str]) -> None:
        if parcel.id not in done:
            self._rotate(len(parcel.body))
            self._append(parcel.body)
            done.append(parcel.id)
        self._beside("batches").write_text("\n".join(done))

    def _append(self, lines: bytes) -> None:
        with self.path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(file.fileno(), 1, end - 1) != b"\n"  # by a crash; it comes again whole
            try:
                left = memoryview(b"\n" + lines if torn else lines)
                while left:
                    left = left[file.write(left) :]
                if self.fsync:
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # then the part is a torn line for the next try
                    file.truncate(end)
                raise
        if self.fsync and end == 0:
            _sync(self.path.parent)

    def _rotate(self, more: int) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        if size == 0 or size + more <= self.max_bytes:
            return
        for number in range(self.keep, 0, -1):
            for suffix in ("", ".gz"):
                former = self._beside(f"{number}{suffix}")
                if former.exists() and number == self.keep:
                    former.unlink()
                elif former.exists():
                    former.rename(self._beside(f"{number + 1}{suffix}"))
        if self.keep == 0:
            self.path.unlink()
            return
        newest = self.path.rename(self._beside("1"))
        if self.compress:
            part = self._beside("1.gz.part")
            with newest.open("rb") as plain, gzip.open(part, "wb", 1) as packed:
                shutil.copyfileobj(plain, packed)
            part.rename(self._beside("1.gz"))
            newest.unlink()

    def _batches(self) -> deque[str]:
        try:
            return deque(self._beside("batches").read_text(errors="replace").split(), REMEMBERED)
        except FileNotFoundError:
            return deque(maxlen=REMEMBERED)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
