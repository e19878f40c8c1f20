"""
Reading a state directory: what is there, how far it reaches, and what is damaged.

Only the last segment of a lane is read through; the others end where the next begins, and damage in
them shows when it is read. Nothing is written here but the moving aside of what cannot be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from agent.spool import head as heads
from agent.spool import segment as segments
from agent.spool.cursor import Kept, kept
from agent.spool.frame import Header, claims_of, is_whole, lengths_of, origin_of
from agent.spool.head import Head
from agent.spool.mark import Mark, sync_directory, sync_file
from agent.spool.progress import Progress
from agent.spool.scan import File, Window, payload, walk
from agent.spool.segment import Segment

Trouble = Callable[[Path, str, bool], None]  # which file, what is wrong, whether it is to be set aside

_SILENT = Progress()


@dataclass(slots=True)
class FoundLane:
    """A lane as the disk has it."""

    name: str
    directory: Path
    mark: Mark  # the head mark
    segments: list[Segment] = field(default_factory=list)
    end: int = 0  # the index after the last record that can be read
    group: int = 0
    head: Head = field(default_factory=Head)
    is_headless: bool = False  # its head mark was there, and says nothing any more
    cursors: dict[str, tuple[Mark, Kept | None]] = field(default_factory=dict)

    @property
    def proven(self) -> int:
        """The lane's head: no index below it is given out again."""
        named = [found.planned_end for _, found in self.cursors.values() if found is not None]
        registered = [position for _, position in self.head.cursors.values()]
        return max([self.end, self.head.head, *named, *registered])


def sync(directory: Path, found: Iterable[FoundLane], progress: Progress) -> None:
    """
    Make durable what the last run wrote and did not live to sync, before anything is built on it. Raises OSError.

    A message that is sent again would else be acknowledged for a record that the next power cut takes.
    """
    for place in (directory.parent.parent, directory.parent, directory):
        if os.access(place, os.R_OK):  # the one above all may be closed to us
            sync_directory(place)
    for one in found:
        progress.at(f"recovering lane {one.name}: syncing what was written last")
        # Of the segments only the last: each of them was synced before the next one was made.
        files = [segment.path for segment in one.segments[-1:]]
        for path in (*files, one.mark.path, *(mark.path for mark, _ in one.cursors.values())):
            with suppress(FileNotFoundError):
                sync_file(path)
            progress.tick()
        sync_directory(one.directory)


def file_name(name: str) -> str:
    """A lane's or sink's name as the name of a file."""
    return quote(name, safe="@+=, ").replace(".", "%2E")


def name_of(path: Path) -> str:
    """The sink or lane that a file is named for."""
    return unquote(path.stem)


def lanes(directory: Path, trouble: Trouble, progress: Progress = _SILENT) -> dict[str, FoundLane]:
    """Every lane under `lanes/`."""
    try:
        places = sorted(place for place in directory.iterdir() if place.is_dir())
    except FileNotFoundError:
        return {}
    found = [lane(place, trouble, progress) for place in places]
    return {one.name: one for one in found}


def lane(directory: Path, trouble: Trouble, progress: Progress = _SILENT) -> FoundLane:
    """One lane."""
    out = FoundLane(unquote(directory.name), directory, heads.mark_of(directory))
    _load_head(out, trouble)
    paths = sorted(directory.iterdir())
    for place, path in enumerate(paths):
        progress.at(f"recovering lane {out.name}: {place} of {len(paths)} files")
        try:
            if path.suffix == ".seg":
                one = segments.found(path)
                if one is None:
                    trouble(path, "no segment by its name, or another by its header", True)
                else:
                    out.segments.append(one)
            elif path.suffix == ".cursor":
                out.cursors[name_of(path)] = read_cursor(path, trouble)
        except FileNotFoundError:
            continue  # deleted while we look beside an agent at work
        except OSError as error:
            trouble(path, f"cannot be read: {error.strerror or error}", False)
    for sink, (mark, value) in out.cursors.items():
        # One that was renamed a moment before the end still says its former name; but then no other file has that.
        if value is not None and value.sink != sink and (sink in out.head.cursors or value.sink in out.cursors):
            trouble(mark.path, f"cursor of another sink, {value.sink}", True)
            out.cursors[sink] = (Mark(mark.path), None)
    # Of two that begin at the same record, the one written later is the one that counts.
    out.segments.sort(key=lambda one: (one.base, one.group))
    out.group = max([out.head.group, *(one.group for one in out.segments)])
    progress.at(f"recovering lane {out.name}: reading its last segment")
    _find_end(out, trouble, progress)
    return out


def _load_head(out: FoundLane, trouble: Trouble) -> None:
    try:
        known = heads.decoded(out.mark.value) if out.mark.load() and out.mark.value is not None else None
        if known is not None and known.lane not in ("", out.name):
            known = None
    except FileNotFoundError:
        return
    except OSError as error:
        trouble(out.mark.path, f"cannot be read: {error.strerror or error}", False)
        return
    if known is None:
        trouble(out.mark.path, "head mark is damaged", True)
        out.is_headless = True
        out.mark = heads.mark_of(out.directory)
    else:
        out.head = known


def read_cursor(path: Path, trouble: Trouble) -> tuple[Mark, Kept | None]:
    """A cursor's file and what it says; None where that is damaged, or said of another lane."""
    mark = Mark(path)
    value = kept(mark.value) if mark.load() and mark.value is not None else None
    if value is None or value.lane != unquote(path.parent.name):
        trouble(path, "cursor is damaged", True)
        return Mark(path), None
    return mark, value


def _find_end(out: FoundLane, trouble: Trouble, progress: Progress) -> None:
    limit = None  # where the next segment begins: what stands beyond is left over from a write that failed
    for one in reversed(out.segments):
        end = one.base
        try:
            for header, whole in frames(one, progress):
                if whole is not None and (limit is None or header.base < limit):
                    end = max(end, header.end)  # a frame may stand there a second time, further on
                    out.group = max(out.group, header.group)
        except OSError as error:
            trouble(one.path, f"cannot be read: {error.strerror or error}", False)
        limit = one.base
        out.end = max(out.end, end)
        if end > one.base:
            break
    # A segment that goes is first no longer named here: this one went behind our back.
    if out.head.segment and all(one.id != out.head.segment for one in out.segments):
        gone = f"the segment last written to, {out.head.segment:016x}, is gone"
    elif out.is_headless or (out.mark.value is None and out.proven):  # the mark is there before the first record
        gone = "the head mark is gone"
    elif out.mark.is_torn and out.proven:
        gone = "half of the head mark is damaged"
    else:
        return
    text = f"{gone}: beyond what segments, cursors and head mark name the loss is unknown, at most one segment"
    trouble(out.directory, text, False)


def frames(segment: Segment, progress: Progress = _SILENT) -> Iterator[tuple[Header, memoryview | None]]:
    """Every frame of a segment with what follows its header; None where that is damaged."""
    with File(segment.path) as file:
        window = Window(file, segment.size, tick=progress.tick)
        for offset, header in walk(window, segments.HEADER_BYTES, segment.size, segment.id):
            text = payload(window, offset, header)
            yield header, text if is_whole(header, text) else None


def records(header: Header, text: memoryview) -> list[bytes]:
    """The records of a frame, each by itself."""
    body = bytes(text[header.columns_bytes :])
    out, start = [], 0
    for length in lengths_of(header, text):
        out.append(body[start : start + length])
        start += length + 1
    return out


def unacked(
    found: Mapping[str, FoundLane], floor: int, acked: Mapping[str, int], progress: Progress = _SILENT
) -> dict[str, dict[int, int]]:
    """
    For each origin: packet id -> payload hash of what was stored after what it has confirmed.

    Brokers use packet ids again: the last occurrence counts. What follows damage within one commit is
    not believed, because the lost part may have belonged to the same message.
    """
    out: dict[str, dict[int, tuple[int, int]]] = {}
    for one in found.values():
        for place, segment in enumerate(one.segments):
            following = one.segments[place + 1].group if place + 1 < len(one.segments) else 0
            if following and following <= floor + 1:
                continue
            limit = one.segments[place + 1].base if place + 1 < len(one.segments) else one.proven
            progress.at(f"recovering lane {one.name}: {place} of {len(one.segments)} segments")
            with suppress(FileNotFoundError):  # settled and deleted while we look beside those at work
                for header, text in _believed(segment, limit, progress):
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
    return {origin: {packet: digest for packet, (_, digest) in known.items()} for origin, known in out.items()}


def _believed(segment: Segment, limit: int, progress: Progress) -> Iterator[tuple[Header, memoryview]]:
    expected, doubted, damaged = segment.base, -1, False
    for header, text in frames(segment, progress):
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
