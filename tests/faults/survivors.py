"""
What is left of a spool, read by docs/spool-format.md alone and with no code of the agent.

It takes its time and keeps everything in memory: every byte at which a frame could begin is looked at.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

FRAME = b"\xf6\x00TAfrm\n"
SEGMENT = b"\xf6\x00TAseg\n"
MARK = b"\xf6\x00TAmrk\n"
SLOTS = {"cursor": 4096, "head": 16384}
SEGMENT_HEADER = 256
HEADER = struct.Struct("<8sBBHQQQIIIIIIqqqq16sII")
SETTLED = range(3, 9)  # states of a plan
DAMAGED = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """One with a sound header; without records where what follows is damaged."""

    offset: int
    size: int
    group: int
    base: int
    records: tuple[bytes, ...]

    @property
    def end(self) -> int:
        return self.base + len(self.records)


@dataclass(slots=True)
class Lane:
    """A directory below `lanes`."""

    name: str
    segments: dict[Path, tuple[int, list[Frame]]] = field(default_factory=dict)  # base and frames
    records: dict[int, bytes] = field(default_factory=dict)  # by index: what can be read
    head: dict[str, Any] | None = None
    cursors: dict[str, dict[str, Any]] = field(default_factory=dict)  # by sink, the valid ones

    @property
    def named(self) -> int:
        """The highest index that a segment, a frame, a cursor or the head mark names."""
        found = [base for base, _ in self.segments.values()]
        found += [index + 1 for index in self.records]
        found += [end_of(cursor) for cursor in self.cursors.values()]
        if self.head is not None:
            found += [self.head["head"], *(position for _, position in self.head["cursors"].values())]
        return max(found, default=0)

    def position(self, sink: str) -> int | None:
        """Where the sink goes on; None where nothing says it."""
        if sink in self.cursors:
            return int(self.cursors[sink]["position"])
        if self.head is not None and sink in self.head["cursors"]:
            return int(self.head["cursors"][sink][1])
        return None


def end_of(cursor: dict[str, Any]) -> int:
    """The index after the last plan."""
    return int(cursor["position"]) + sum(plan[1] for plan in cursor["plans"])


def lane(directory: Path) -> Lane:
    """What is left of it."""
    out = Lane(directory.name)
    for path in sorted(directory.iterdir()):
        named = re.fullmatch(r"([0-9a-f]{16})-([0-9a-f]{16})\.seg", path.name)
        if named is not None:
            data = path.read_bytes()
            base, number = int(named[1], 16), int(named[2], 16)
            if _said(data) in (None, (number, base, out.name.encode())):
                out.segments[path] = base, list(frames(data, number))
        elif path.name == "head":
            known = _mark(path.read_bytes(), SLOTS["head"], {"lane", "head", "segment", "group", "cursors", "acked"})
            out.head = known if known is not None and known["lane"] == out.name else None
        elif path.suffix == ".cursor":
            found = _mark(path.read_bytes(), SLOTS["cursor"], {"sink", "lane", "position", "start", "ledger", "plans"})
            if found is not None and (found["sink"], found["lane"]) == (path.stem, out.name):
                out.cursors[path.stem] = found
    ordered = sorted(out.segments.values(), key=lambda one: (one[0], one[1][0].group if one[1] else 0))
    for place, (_, some) in enumerate(ordered):
        limit = ordered[place + 1][0] if place + 1 < len(ordered) else 1 << 64
        reached = 0
        for frame in some:
            if reached <= frame.base < limit:  # one that stands there a second time, further on, comes too late
                out.records.update(enumerate(frame.records, frame.base))
                reached = frame.end
    return out


def frames(data: bytes, segment: int) -> Iterator[Frame]:
    """Every frame of that segment."""
    for found in re.finditer(re.escape(FRAME), data):
        at = found.start()
        if at + HEADER.size > len(data):
            return
        _, version, _, _, owner, group, base, count, *sizes = HEADER.unpack_from(data, at)
        origin, packets, hashes, more, body = sizes[:5]
        of_columns, of_header = sizes[-2:]
        if (version, owner, of_header) != (1, segment, crc32(data[at : at + HEADER.size - 4])):
            continue
        size = HEADER.size + origin + 4 * count + packets + hashes + more + body
        if at + size > len(data):
            continue
        if crc32(data[at + HEADER.size : at + size]) != of_columns:
            yield Frame(at, size, group, base, ())
            continue
        lengths = struct.unpack_from(f"<{count}I", data, at + HEADER.size + origin)
        records, start = [], at + size - body
        for length in lengths:
            records.append(data[start : start + length])
            start += length + 1
        yield Frame(at, size, group, base, tuple(records))


def _said(data: bytes) -> tuple[int, int, bytes] | None:
    """Segment id, base and lane by a header that is sound."""
    if data[:8] != SEGMENT or len(data) < SEGMENT_HEADER:
        return None
    number, base, _, length = struct.unpack_from("<QQqH", data, 12)
    checked, rest = data[: 38 + length], data[38 + length : SEGMENT_HEADER]
    return (number, base, checked[38:]) if crc32(checked) == int.from_bytes(rest[:4], "little") else None


def _mark(data: bytes, slot: int, keys: set[str]) -> dict[str, Any] | None:
    """What the valid slot of the higher generation says, where it says such things."""
    best, value = 0, None
    for start in (0, slot):
        piece = data[start : start + slot]
        if len(piece) < 28 or piece[:8] != MARK:
            continue
        version, length, generation, crc = struct.unpack_from("<IIQI", piece, 8)
        text = piece[28 : 28 + length]
        if (version, len(text)) == (1, length) and crc32(piece[:24] + text) == crc and generation > best:
            best, value = generation, json.loads(text)
    return value if isinstance(value, dict) and keys <= value.keys() else None
