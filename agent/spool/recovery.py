"""
Reading a state directory: what is there, how far it reaches, and what is damaged.

Only the last segment of a lane is read through; the others end where the next begins, and damage in
them shows when it is read. Nothing is written here but the moving aside of what cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from agent.spool import head as heads
from agent.spool import segment as segments
from agent.spool.cursor import Kept, kept
from agent.spool.frame import Header, claims_of, is_whole, origin_of
from agent.spool.head import Head
from agent.spool.mark import Mark
from agent.spool.reading import opened
from agent.spool.scan import Window, payload, walk
from agent.spool.segment import Segment

log = structlog.get_logger()

SetAside = Callable[[Path], None]


@dataclass(slots=True)
class FoundLane:
    """A lane as the disk has it."""

    name: str
    directory: Path
    segments: list[Segment] = field(default_factory=list)
    end: int = 0  # the index after the last record that can be read
    group: int = 0
    head: Head = field(default_factory=Head)
    mark: Mark | None = None
    cursors: dict[str, tuple[Mark, Kept | None]] = field(default_factory=dict)

    @property
    def proven(self) -> int:
        """The lane's head: no index below it is given out again."""
        named = [found.planned_end for _, found in self.cursors.values() if found is not None]
        registered = [position for _, position in self.head.cursors.values()]
        return max([self.end, self.head.head, *named, *registered])


def file_name(name: str) -> str:
    """A lane's or sink's name as the name of a file."""
    return quote(name, safe="@+=, ").replace(".", "%2E")


def lanes(directory: Path, set_aside: SetAside) -> dict[str, FoundLane]:
    """Every lane under `lanes/`."""
    try:
        places = sorted(place for place in directory.iterdir() if place.is_dir())
    except FileNotFoundError:
        return {}
    found = [lane(place, set_aside) for place in places]
    return {one.name: one for one in found}


def lane(directory: Path, set_aside: SetAside) -> FoundLane:
    """One lane."""
    out = FoundLane(unquote(directory.name), directory)
    for path in sorted(directory.iterdir()):
        if path.suffix == ".seg":
            try:
                one = segments.found(path)
            except OSError as error:
                log.error("segment cannot be read", file=str(path), reason=str(error))
                continue
            if one is None:
                set_aside(path)
            else:
                out.segments.append(one)
        elif path.suffix == ".cursor":
            mark = Mark(path)
            value = kept(mark.value) if mark.load() and mark.value is not None else None
            if value is None:
                log.error("cursor is damaged", file=str(path))
                set_aside(path)
                mark = Mark(path)
            out.cursors[unquote(path.stem)] = (mark, value)
        elif path.name == heads.NAME:
            out.mark = heads.mark_of(directory)
            known = heads.decoded(out.mark.value) if out.mark.load() and out.mark.value is not None else None
            if known is None:
                log.error("head mark is damaged", file=str(path))
                set_aside(path)
                out.mark = None
            else:
                out.head = known
    out.mark = out.mark or heads.mark_of(directory)
    # Of two that begin at the same record, the one written later is the one that counts.
    out.segments.sort(key=lambda one: (one.base, one.group))
    out.group = max([out.head.group, *(one.group for one in out.segments)])
    _find_end(out)
    return out


def _find_end(out: FoundLane) -> None:
    for one in reversed(out.segments):
        end = one.base
        try:
            for header, text in frames(one):
                if text is not None:
                    end = header.end
                    out.group = max(out.group, header.group)
        except OSError as error:
            log.error("segment cannot be read", file=str(one.path), reason=str(error))
        out.end = max(out.end, end)
        if end > one.base:
            break
    # A segment that goes is first no longer named here: this one went behind our back.
    if out.head.segment and all(one.id != out.head.segment for one in out.segments):
        log.error(
            "the segment last written to is gone; beyond what cursors and head mark name the loss is unknown,"
            " at most one segment",
            lane=out.name,
            segment=f"{out.head.segment:016x}",
        )


def frames(segment: Segment) -> Iterator[tuple[Header, memoryview | None]]:
    """Every frame of a segment with what follows its header; None where that is damaged."""
    with opened(segment.path) as fd:
        window = Window(fd, segment.size)
        for offset, header in walk(window, segments.HEADER_BYTES, segment.size, segment.id):
            text = payload(window, offset, header)
            yield header, text if is_whole(header, text) else None


def unacked(found: dict[str, FoundLane]) -> dict[str, dict[int, int]]:
    """
    For each origin: packet id -> payload hash of what is stored and was not known to be acknowledged.

    Brokers use packet ids again: the last occurrence counts. What follows damage within one commit is
    not believed, because the lost part may have belonged to the same message.
    """
    floor = max((one.head.claims_from for one in found.values()), default=0)
    acked: dict[str, int] = {}
    for one in found.values():
        for origin, group in one.head.acked.items():
            acked[origin] = max(acked.get(origin, 0), group)
    out: dict[str, dict[int, tuple[int, int]]] = {}
    for one in found.values():
        for place, segment in enumerate(one.segments):
            following = one.segments[place + 1].group if place + 1 < len(one.segments) else 0
            if following and following <= floor + 1:
                continue
            limit = one.segments[place + 1].base if place + 1 < len(one.segments) else one.proven
            for header, text in _believed(segment, limit):
                claims = claims_of(header, text)
                if claims is None:
                    continue
                origin = origin_of(header, text)
                if header.group <= max(acked.get(origin, 0), floor):
                    continue
                known = out.setdefault(origin, {})
                for packet, digest in zip(*claims, strict=True):
                    if packet and known.get(packet, (0, 0))[0] <= header.group:
                        known[packet] = (header.group, digest)
    return {
        origin: {packet: digest for packet, (_, digest) in known.items()} for origin, known in out.items()
    }


def _believed(segment: Segment, limit: int) -> Iterator[tuple[Header, memoryview]]:
    expected, doubted, damaged = segment.base, -1, False
    for header, text in frames(segment):
        if header.base >= limit:
            return
        if header.base != expected or text is None:
            damaged = True
        expected = header.end
        if text is None:
            continue
        if damaged:
            doubted, damaged = header.group, False
        if header.group != doubted:
            yield header, text
