"""
`events.json` in the state directory: what a restart must know so that it says nothing twice and loses no end.

Written whenever something of it has changed, as a whole: a draft that is synced and takes the file's place. Then the
disk rests for ten times as long, at most a second. A crash loses what changed within that rest from the file, but not
from the spool: the file says how far the lanes went, and the next start takes up the events that stand beyond.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from agent.aside import aside
from agent.replacing import replace_file

log = structlog.get_logger()

NAME = "events.json"
FORMAT = 1
LARGEST = 64 << 20  # nothing that was written here is larger
APART = 1.0  # seconds at most between two writes
REST = 10.0  # times as long as the last write took
AGAIN = 5.0  # seconds after a write that failed
WITHIN = 30.0  # seconds that the disk may take
AT_START = 5.0  # the same, before collectors are started
ALIVE = 60.0  # seconds between two touches, which tell the next run until when this one lived

T = TypeVar("T")


class _File(msgspec.Struct):
    format: int
    sections: dict[str, msgspec.Raw]


class Memory:
    """The file, and who fills it. `load` and `blank` give one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, msgspec.Raw] = {}
        self._write: dict[str, Callable[[], object]] = {}
        self._stir = asyncio.Event()
        self._number = 0
        self._failure = ""
        self.alive_ms: int | None = None  # when the last run was alive for certain
        self.has_life = False  # whether somebody will ask for that of this one

    @classmethod
    async def load(cls, directory: Path) -> Memory:
        """What the last run left; nothing, and a line about it, where the file is missing or damaged."""
        memory = cls(directory / NAME)
        try:
            memory.alive_ms, file = await aside(memory._load, kind=memory._path, within=WITHIN)
            memory._read = file.sections
        except FileNotFoundError:
            log.info("nothing is remembered of events, as at a first start", file=str(memory._path))
            memory.changed()
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            log.warning("what is remembered of events cannot be read", file=str(memory._path), reason=str(error))
            memory.changed()  # so that the next start does not say it again
        return memory

    def section(self, name: str, form: type[T], content: Callable[[], object]) -> T | None:
        """Both of the following at once."""
        self.keep(name, content)
        return self.former(name, form)

    def keep(self, name: str, content: Callable[[], object]) -> None:
        """From now on `content` gives what this run leaves under that name, as a copy."""
        self._write[name] = content

    def former(self, name: str, form: type[T]) -> T | None:
        """What the last run left under that name; None where it left nothing that can be read."""
        former = self._read.pop(name, None)
        if former is None:
            return None
        try:
            return msgspec.json.decode(former, type=form)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            log.warning("a part of what is remembered of events is damaged", part=name, reason=str(error))
            return None

    def changed(self) -> None:
        """Something is to be remembered. On the loop; returns at once."""
        self._stir.set()

    async def settle(self) -> None:
        """Write what the start has changed, before anything comes in: what is told then must be read by these rules."""
        if self._stir.is_set():
            await self.save(within=AT_START)

    @classmethod
    async def blank(cls, directory: Path) -> Memory:
        """There are no events: what is left of earlier ones would only be stale later."""
        memory = cls(directory / NAME)
        await memory.forget()
        return memory

    async def forget(self, *, within: float = WITHIN) -> None:
        """Leave nothing for the next run."""
        path = self._path

        def remove() -> bool:
            path.unlink(missing_ok=True)
            return True

        try:
            if await aside(remove, kind=path, within=within) is not True:  # that was a save, still under way
                await aside(remove, kind=path, within=within)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning("what is remembered of events cannot be removed", file=str(path), reason=reason)

    async def run(self) -> None:
        """Write what has changed, and leave a sign of life every minute, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(ALIVE if self.has_life else None):
                    await self._stir.wait()
            except TimeoutError:
                await self._touch()
                continue
            began = time.monotonic()
            is_written = await self.save()
            await asyncio.sleep(min(APART, REST * (time.monotonic() - began)) if is_written else AGAIN)

    async def save(self, *, within: float = WITHIN) -> bool:
        """Write what there is to remember, now; whether that could be done."""
        self._stir.clear()
        self._number += 1
        number, path = self._number, self._path
        content = {name: give() for name, give in self._write.items()}

        def write() -> int:
            replace_file(path, msgspec.json.encode({"format": FORMAT, "sections": content}), durable="content")
            return number

        try:
            is_written = await aside(write, kind=path, within=within) == number
            if not is_written:  # that was an older state, whose writing was still under way
                is_written = await aside(write, kind=path, within=within) == number
        except (OSError, msgspec.MsgspecError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if reason != self._failure:
                log.warning("events cannot be remembered, a restart may repeat some", file=str(path), reason=reason)
            self._failure, is_written = reason, False
        else:
            if self._failure and is_written:
                log.info("events are remembered again", file=str(path), after=self._failure)
                self._failure = ""
        if not is_written:
            self._stir.set()
        return is_written

    async def _touch(self) -> None:
        try:
            await aside(lambda: os.utime(self._path), kind=("touch", self._path), within=WITHIN)
        except OSError:
            self._stir.set()  # writing says what is the matter

    def _load(self) -> tuple[int, _File]:
        with self._path.open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_size > LARGEST:
                raise ValueError(f"{state.st_size} bytes, and no such file has more than {LARGEST}")
            read = msgspec.json.decode(file.read(), type=_File)
        if read.format != FORMAT:
            raise ValueError(f"it has the format {read.format}, this program knows {FORMAT}")
        return state.st_mtime_ns // 1_000_000, read
