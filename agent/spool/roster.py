"""
Who reads which lane: from the configured sinks and the cursors that there are to the cursors of each sink.

The same at a start, where the cursors come out of their files, and where the readers change while everything runs:
what a sink's cursors become depends on them and on the readers alone. So whatever a change that was cut off has left
in the files, the next start goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from agent.spool.cursor import Cursor, Kept, Write
from agent.spool.keeper import Keeper
from agent.spool.lane import Lane
from agent.spool.ledger import Ledger
from agent.spool.mark import Mark, sync_directory
from agent.spool.recovery import FoundLane, file_name
from agent.spool.settings import Reader

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Roster:
    """Every cursor in its place."""

    cursors: dict[str, list[Cursor]]  # by sink: those in lanes it no longer reads from first, its own last
    retired: list[Cursor]  # of sinks that are configured no more

    def all(self) -> list[Cursor]:
        """Every cursor."""
        return [*(cursor for some in self.cursors.values() for cursor in some), *self.retired]

    def unwritten(self) -> list[tuple[Cursor, Mapping[str, Any]]]:
        """Those whose files say something else, with what they are to say: for `write`."""
        return [(cursor, cursor.encoded()) for cursor in self.all() if cursor.dirty]


def restore(readers: Sequence[Reader], found: Iterable[FoundLane]) -> None:
    """Put cursors back whose files are gone or damaged, at the position that the head mark knew them at."""
    renamed = {reader.was: reader.sink for reader in readers if reader.was is not None}
    for lane in found:
        for sink, (_, position) in lane.head.cursors.items():
            mark, value = lane.cursors.get(sink, (None, None))
            if value is not None or renamed.get(sink) in lane.cursors:
                continue
            log.error(
                "cursor is gone, the sink goes on where the head mark knew it; what it took since is sent again",
                sink=sink,
                lane=lane.name,
                position=position,
            )
            mark = mark or Mark(lane.directory / f"{file_name(sink)}.cursor")
            known = Kept(sink, lane.name, (), position, position, None, None, Ledger(), 0, None, [])
            lane.cursors[sink] = (mark, known)


def loaded(found: Mapping[str, FoundLane], lanes: Mapping[str, Lane], write: Write) -> list[Cursor]:
    """The cursors as their files have them."""
    return [
        _loaded(sink, lanes[name], mark, value, write)
        for name, lane in found.items()
        for sink, (mark, value) in lane.cursors.items()
        if value is not None
    ]


async def rename(readers: Sequence[Reader], present: Iterable[Cursor], keeper: Keeper) -> None:
    """Give the cursors of renamed sinks their new names (`was`), on disk where that is possible."""
    present = list(present)
    current = {reader.sink for reader in readers}
    for reader in readers:
        if reader.was is None or reader.was in current:
            continue
        taken = {cursor.lane.name for cursor in present if cursor.sink == reader.sink}
        for cursor in present:
            if cursor.sink != reader.was or cursor.lane.name in taken:
                continue
            target = cursor.mark.path.with_name(f"{file_name(reader.sink)}.cursor")
            try:
                await keeper.call(cursor.mark.rename, target)
            except OSError as error:
                log.error("cursor cannot be renamed", file=str(cursor.mark.path), to=target.name, reason=str(error))
            if reader.was not in cursor.names:
                cursor.names = (*cursor.names, reader.was)
            cursor.sink = reader.sink
            cursor.touch()
            log.info("sink goes on under its new name", sink=reader.sink, was=reader.was, lane=cursor.lane.name)


def assigned(readers: Sequence[Reader], lanes: Mapping[str, Lane], present: Iterable[Cursor], write: Write) -> Roster:
    """Put each cursor in its place for these readers, and make those that are missing. Touches no file."""
    by_sink: dict[str, list[Cursor]] = {}
    for cursor in sorted(present, key=lambda each: each.lane.name):
        by_sink.setdefault(cursor.sink, []).append(cursor)
    shared = {cursor.lane for some in by_sink.values() for cursor in some}
    cursors = {}
    for reader in readers:
        mine, lane = by_sink.pop(reader.sink, []), lanes[reader.lane]
        cursors[reader.sink] = _of(reader, mine, lane, write, is_shared=lane in shared)
    retired = [cursor for some in by_sink.values() for cursor in some]
    for cursor in retired:
        _retire(cursor)
    return Roster(cursors, retired)


def write(lanes: Iterable[Lane], cursors: Iterable[tuple[Cursor, Mapping[str, Any]]]) -> None:
    """
    Give lanes their directories, and cursors what they say, before a record comes in. Blocks; raises OSError.

    A sink that is back on its lane, say, would else be found there after a crash as if it had never been back, and
    skip what came meanwhile.
    """
    for lane in lanes:
        if not lane.directory.is_dir():
            lane.directory.mkdir(mode=0o700)
            sync_directory(lane.directory.parent)
    for cursor, says in cursors:
        cursor.mark.write(says)
        cursor.saved = says["position"]


def _of(reader: Reader, present: list[Cursor], lane: Lane, write: Write, *, is_shared: bool) -> list[Cursor]:
    """The cursors of a sink: those in lanes it no longer reads from first, its own last."""
    own = next((cursor for cursor in present if cursor.lane is lane), None)
    former = [cursor for cursor in present if cursor is not own]
    for cursor in former:
        _leave(cursor)
    if own is None:
        # `start` is for a first run. Who has read another lane so far has had through that what both of them hold.
        is_late = reader.start == "newest" or (is_shared and present)
        at = lane.head if is_late else lane.first
        mark = Mark(lane.directory / f"{file_name(reader.sink)}.cursor")
        own = Cursor(sink=reader.sink, lane=lane, mark=mark, write=write, start=at, position=at)
    else:
        _come_back(own)
    for cursor in (*former, own):
        cursor.blocks = reader.on_full == "block"
    if reader.was is not None and reader.was not in own.names:
        own.names = (*own.names, reader.was)
        own.touch()
    return [*former, own]


def _come_back(cursor: Cursor) -> None:
    """The sink reads from this lane (again): it is neither retired nor ends."""
    if cursor.retired_ms is not None:
        log.info("sink is back", sink=cursor.sink, lane=cursor.lane.name, position=cursor.position)
    if cursor.end is not None and cursor.position >= cursor.end and not cursor.plans:
        # What came meanwhile went to it through another lane.
        skipped = cursor.lane.head - cursor.position
        cursor.start += skipped
        cursor.position += skipped
    if cursor.end is not None or cursor.retired_ms is not None:
        cursor.end = cursor.retired_ms = None
        cursor.touch()


def _leave(cursor: Cursor) -> None:
    """The sink reads from another lane now: it drains this one first."""
    if cursor.end is None or cursor.retired_ms is not None:
        cursor.end = cursor.lane.head if cursor.end is None else cursor.end
        cursor.retired_ms = None
        cursor.touch()
        log.info(
            "sink drains its former lane",
            sink=cursor.sink,
            lane=cursor.lane.name,
            records=cursor.end - cursor.position,
        )


def _retire(cursor: Cursor) -> None:
    """Its sink is configured no more. Since when is stamped once the clock can be believed."""
    cursor.blocks = False
    if cursor.end is None:
        cursor.end = cursor.lane.head
        cursor.touch()
        waiting = cursor.end - cursor.position
        log.warning("sink is configured no more, its records are kept a while", sink=cursor.sink, records=waiting)


def _loaded(sink: str, lane: Lane, mark: Mark, value: Kept, write: Write) -> Cursor:
    names = value.names if value.sink == sink or value.sink in value.names else (*value.names, value.sink)
    return Cursor(
        sink=sink,
        lane=lane,
        mark=mark,
        write=write,
        start=value.start,
        position=value.position,
        plans=value.plans,
        ledger=value.ledger,
        end=value.end,
        retired_ms=value.retired_ms,
        names=names,
        inherited_dead=value.inherited_dead,
        absorbed=value.absorbed,
        saved=value.position,
        _dirty=value.sink != sink,
    )
