"""
`dataflow.json` in the state directory: what was counted, what is meant, what is under way.

Written as a whole: a draft that is synced and takes the file's place, which is synced too, off the event loop. Those
who wait for a write at the same time share the next one. A file that is damaged is set aside, and nothing is started
for what stood in it: that a job runs once is worth more than that it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from secrets import token_hex
from zlib import crc32

import msgspec
import structlog

from agent.aside import aside
from agent.dataflow.kept import Kept, State
from agent.errors import StateError, StateRefused, StateTooNew
from agent.replacing import replace_file

log = structlog.get_logger()

NAME = "dataflow.json"
FORMAT = 1
LATEST = 1024  # objects of a sink that are known again; of what is sent again after a crash there are some dozens
WITHIN = 30.0  # seconds that the disk may take


class _File(msgspec.Struct):
    format: int
    crc32: int  # of `state` as it stands in the file
    state: msgspec.Raw


class Book:
    """The file, and its content as it is now. `open` gives one."""

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._state = state
        self._noted = {sink: dict.fromkeys(ids) for sink, ids in state.noted.items()}  # to look up, in order
        self._wanted = self._written = 0  # numbers of states: the one to be written, the one on disk
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, directory: Path) -> Book:
        """What the last run left. Raises StateError where it cannot be read, StateTooNew where a newer one wrote it."""
        path = directory / NAME
        try:
            content = await aside(path.read_bytes, kind=("read", path), within=WITHIN)
        except FileNotFoundError:
            return cls(path, State())
        except PermissionError as error:
            raise StateRefused(path) from error
        except OSError as error:
            raise StateError(f"{path}: {error.strerror or error}") from error
        try:
            return cls(path, _read(content, path))
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            await _set_aside(path, str(error))
            return cls(path, State())

    def rule(self, name: str) -> Kept:
        """The state of a rule, as its own to change; `save` makes that durable."""
        return self._state.rules.setdefault(name, Kept())

    def forget_others(self, names: Collection[str], sinks: Collection[str]) -> None:
        """Rules that are no more leave nothing, nor do sinks that none watches any more."""
        self._noted = {sink: ids for sink, ids in self._noted.items() if sink in sinks}
        for name in self._state.rules.keys() - set(names):
            kept = self._state.rules.pop(name)
            if kept.waiting or kept.intent:
                log.warning(
                    "a Data Flow rule is no more, what it left is forgotten",
                    rule=name,
                    objects=kept.waiting,
                    run_under_way=kept.intent is not None,
                )

    def count(self, sink: str, object_id: str, rules: Collection[str]) -> None:
        """A sink has stored an object that these rules watch; one that is known already counts for nothing."""
        noted = self._noted.setdefault(sink, {})
        if object_id in noted:
            return
        noted[object_id] = None
        if len(noted) > LATEST:
            del noted[next(iter(noted))]
        for name in rules:
            self.rule(name).waiting += 1

    async def save(self) -> None:
        """Return when everything that was changed by now is on the disk. Raises OSError."""
        self._wanted += 1
        mine = self._wanted
        async with self._writing:
            while self._written < mine:
                number = self._wanted
                self._state.noted = {sink: list(ids) for sink, ids in self._noted.items()}
                content, path = _file(self._state), self._path

                def write(number: int = number, content: bytes = content, path: Path = path) -> tuple[Book, int]:
                    # A name that a power cut takes back would take back what was meant, and it would be started again.
                    replace_file(path, content, durable="name")
                    return self, number

                # Of an older state, and maybe of the book before a reload, where its writing was still under way.
                whose, written = await aside(write, kind=path, within=WITHIN)
                if whose is self:
                    self._written = written


def _file(state: State) -> bytes:
    raw = msgspec.json.encode(state)
    return msgspec.json.encode(_File(FORMAT, crc32(raw), msgspec.Raw(raw)))


def _read(content: bytes, path: Path) -> State:
    file = msgspec.json.decode(content, type=_File)
    if file.format > FORMAT:
        raise StateTooNew(f"{path}: written in format {file.format} by a newer version; this one reads {FORMAT}")
    if crc32(bytes(file.state)) != file.crc32:
        raise ValueError("its checksum is not that of its content")
    return msgspec.json.decode(file.state, type=State)


async def _set_aside(path: Path, reason: str) -> None:
    folder = path.parent / "damaged"
    kept = folder / f"{NAME}-{token_hex(4)}"

    def move() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        path.rename(kept)

    try:
        await aside(move, kind=("set aside", path), within=WITHIN)
        where = str(kept)
    except OSError as error:
        where = f"it stays where it is: {error.strerror or error}"
    log.error(
        "the book of Data Flow rules is damaged: nothing is run for the objects counted in it, a run under way is not "
        "followed, and today's runs count from none",
        file=str(path),
        reason=reason,
        set_aside=where,
    )
