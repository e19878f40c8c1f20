"""One segment file: its name, its header, and where in it a record stands."""

from __future__ import annotations

import os
import re
import struct
import threading
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from agent.spool.checksum import crc32
from agent.spool.frame import parse

VERSION = 1
MAGIC = b"\xf6\x00TAseg\n"
HEADER_BYTES = 256
STRIDE = 64 * 1024  # bytes of a segment between two remembered places

# magic, version, segment id, base index, wall clock at its making, length of the lane's name
_HEADER = struct.Struct("<8sIQQqH")
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.seg")


@dataclass(slots=True, eq=False)
class Segment:
    """
    A stretch of a lane in one file. `size` and `end` say how far it is durable; nobody reads beyond.

    The writer's thread moves `size` and `end`; places may be remembered by any reading thread.
    """

    path: Path
    id: int
    base: int
    size: int = HEADER_BYTES
    end: int = -1  # the index after its last record; -1: not known, the next segment's base says
    group: int = 0  # of its first frame; 0: it has none
    damaged: bool = False
    _indices: array[int] = field(default_factory=lambda: array("Q"))
    _offsets: array[int] = field(default_factory=lambda: array("Q"))
    _recent: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remember(self, index: int, offset: int) -> None:
        """A frame that begins with record `index` stands at `offset`: kept once every STRIDE bytes."""
        with self._lock:
            if not self._offsets or offset >= self._offsets[-1] + STRIDE:
                self._indices.append(index)
                self._offsets.append(offset)

    def expect(self, index: int, offset: int) -> None:
        """The next read is likely to begin at `index`, whose frame stands at `offset`."""
        with self._lock:
            if len(self._recent) >= 16:
                del self._recent[next(iter(self._recent))]
            self._recent[index] = offset

    def locate(self, index: int) -> int:
        """An offset at or before the frame that holds `index`."""
        with self._lock:
            found = self._recent.pop(index, None)
            if found is not None:
                return found
            place = bisect_right(self._indices, index) - 1
            return self._offsets[place] if place >= 0 else HEADER_BYTES


def name(base: int, segment: int) -> str:
    """The file name of a segment."""
    return f"{base:016x}-{segment:016x}.seg"


def header(segment: int, base: int, created_ms: int, lane: str) -> bytes:
    """The first bytes of a segment file."""
    text = lane.encode()
    packed = _HEADER.pack(MAGIC, VERSION, segment, base, created_ms, len(text)) + text
    return packed + crc32(packed).to_bytes(4, "little") + bytes(HEADER_BYTES - 4 - len(packed))


def create(path: Path, segment: int, base: int, created_ms: int, lane: str) -> int:
    """Make the file and write its header; the descriptor to append with. Raises OSError and leaves no file then."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        data = header(segment, base, created_ms, lane)
        if os.write(fd, data) != len(data):
            raise OSError(f"{path.name}: short write")
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def _said(header: bytes) -> tuple[int, int, str] | None:
    """Segment id, base and lane by a segment's header; None where that is damaged."""
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    _, _, number, base, _, length = _HEADER.unpack_from(header)
    end = min(_HEADER.size + length, HEADER_BYTES - 4)
    if crc32(header[:end]).to_bytes(4, "little") != header[end : end + 4]:
        return None
    return number, base, header[_HEADER.size : end].decode(errors="replace")


def found(path: Path) -> Segment | None:
    """The segment a file name speaks of, with its size and first group; None where there is none, or it is another."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    base, number = int(match[1], 16), int(match[2], 16)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        data = os.pread(fd, 2 * HEADER_BYTES, 0)
    finally:
        os.close(fd)
    if _said(data) not in (None, (number, base, unquote(path.parent.name))):
        return None
    first = parse(data[HEADER_BYTES:], number)
    return Segment(path, number, base, size, group=first.group if first else 0)
