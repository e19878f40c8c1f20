"""Who reads which lane: from the configured sinks and the cursors on disk to the cursors of this run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from agent.spool.cursor import Cursor, Kept, Write
from agent.spool.lane import Lane
from agent.spool.ledger import Ledger
from agent.spool.mark import Mark
from agent.spool.recovery import FoundLane, file_name
from agent.spool.settings import Reader

log = structlog.get_logger()


def rename(readers: Sequence[Reader], found: Iterable[FoundLane]) -> None:
    """Give the cursors of renamed sinks their new names (`was`), on disk where that is possible."""
    current = {reader.sink for reader in readers}
    for reader in readers:
        if reader.was is None or reader.was in current:
            continue
        for lane in found:
            if reader.was not in lane.cursors or reader.sink in lane.cursors:
                continue
            mark, value = lane.cursors.pop(reader.was)
            target = lane.directory / f"{file_name(reader.sink)}.cursor"
            try:
                mark.path.rename(target)
            except OSError as error:
                log.error("cursor cannot be renamed", file=str(mark.path), to=target.name, reason=str(error))
            else:
                mark.path = target
            lane.cursors[reader.sink] = (mark, value)
            log.info("sink goes on under its new name", sink=reader.sink, was=reader.was, lane=lane.name)


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
            lane.cursors[sink] = (mark, Kept(sink, (), position, position, None, None, Ledger(), 0, None, []))


def cursors(reader: Reader, lanes: dict[str, Lane], found: dict[str, FoundLane], write: Write) -> list[Cursor]:
    """The cursors of a sink: those in lanes it no longer reads from first, its own last."""
    former = [
        _former(reader, lanes[name], *lane.cursors[reader.sink], write)
        for name, lane in found.items()
        if name != reader.lane and reader.sink in lane.cursors
    ]
    return [*(cursor for cursor in former if cursor is not None), _own(reader, lanes, found, write)]


def _own(reader: Reader, lanes: dict[str, Lane], found: dict[str, FoundLane], write: Write) -> Cursor:
    lane = lanes[reader.lane]
    known = found.get(reader.lane)
    mark, value = (None, None) if known is None else known.cursors.get(reader.sink, (None, None))
    mark = mark or Mark(lane.directory / f"{file_name(reader.sink)}.cursor")
    if value is not None:
        cursor = _loaded(reader.sink, lane, mark, value, write)
        _come_back(cursor)
    else:
        at = lane.first if reader.start == "oldest" else lane.head
        cursor = Cursor(sink=reader.sink, lane=lane, mark=mark, write=write, start=at, position=at)
    cursor.blocks = reader.on_full == "block"
    if reader.was is not None and reader.was not in cursor.names:
        cursor.names = (*cursor.names, reader.was)
        cursor.touch()
    return cursor


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


def _former(reader: Reader, lane: Lane, mark: Mark, value: Kept | None, write: Write) -> Cursor | None:
    if value is None:
        return None
    cursor = _loaded(reader.sink, lane, mark, value, write)
    cursor.blocks = reader.on_full == "block"
    if cursor.end is None or cursor.retired_ms is not None:
        cursor.end = lane.head if cursor.end is None else cursor.end
        cursor.retired_ms = None
        cursor.touch()
        log.info("sink drains its former lane", sink=reader.sink, lane=lane.name, records=cursor.end - cursor.position)
    return cursor


def retired(
    readers: Sequence[Reader], lanes: dict[str, Lane], found: dict[str, FoundLane], write: Write
) -> list[Cursor]:
    """The cursors of sinks that are configured no more. Since when is stamped once the clock can be believed."""
    current = {reader.sink for reader in readers}
    out = []
    for name, lane in found.items():
        for sink, (mark, value) in lane.cursors.items():
            if sink in current or value is None:
                continue
            cursor = _loaded(sink, lanes[name], mark, value, write)
            if cursor.retired_ms is None:
                cursor.end = lanes[name].head if cursor.end is None else cursor.end
                cursor.touch()
                waiting = cursor.end - cursor.position
                log.warning("sink is configured no more, its records are kept a while", sink=sink, records=waiting)
            out.append(cursor)
    return out


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
