"""
Finding the frames of a segment file, past any damage.

Where no valid header stands, the scan looks for the next one of the same segment and goes on from there.
What was lost between two frames is what their indices leave out; finding that is the caller's part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from agent.spool.frame import HEADER_BYTES, MAGIC, Header, parse

CHUNK = 72 * 1024  # a full frame with its columns
SECTOR = 4096


class NotAtHand(LookupError):  # noqa: N818 it says what is the case, and nothing went wrong
    """What is wanted is not in memory, and no file may be touched."""


class NoFile:
    """In the place of a file that may not be touched."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int, offset: int) -> bytes:
        """Raises NotAtHand."""
        raise NotAtHand(f"{size} bytes at {offset}")


class File:
    """A file to read, opened when it is first needed. What it has opened stays readable when the file is unlinked."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def read(self, size: int, offset: int) -> bytes:
        """The bytes from `offset` on, fewer at the end. Raises OSError; what cannot be read (EIO) is zeros."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return _read(self._fd, size, offset)


class Window:
    """A file read piece by piece: bytes that lie in the piece at hand cost no read."""

    __slots__ = ("_chunk", "_data", "_file", "_kept", "_start", "_stop", "_tick")

    def __init__(
        self,
        file: File | NoFile,
        stop: int,
        *,
        chunk: int = CHUNK,
        kept: Callable[[int], bytes | None] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> None:
        self._file = file
        self._kept = kept  # the frame that begins at an offset, where it is in memory
        self._tick = tick  # told of every piece
        self._stop = stop  # nothing at or beyond is looked at
        self._chunk = chunk
        self._start = 0
        self._data = memoryview(b"")

    def at(self, offset: int, size: int) -> memoryview:
        """The bytes from `offset` on; fewer than `size` where the file ends before."""
        place = offset - self._start
        if place < 0 or place + size > len(self._data):
            if self._tick is not None:
                self._tick()
            wanted = min(max(size, self._chunk), self._stop - offset)
            kept = None if self._kept is None else self._kept(offset)
            if kept is None:
                kept = self._file.read(wanted, offset) if wanted > 0 else b""
            self._data = memoryview(kept)
            self._start = offset
            place = 0
        return self._data[place : place + size]

    def find(self, needle: bytes, offset: int) -> int:
        """Where `needle` next stands from `offset` on, or -1."""
        while offset + len(needle) <= self._stop:
            piece = bytes(self.at(offset, min(self._chunk, self._stop - offset)))
            if not piece:
                return -1
            found = piece.find(needle)
            if found >= 0:
                return offset + found
            offset += max(1, len(piece) - len(needle) + 1)
        return -1


def _read(fd: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(fd, size, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    # A sector that cannot be read costs the frames it lies in, not what stands around it.
    pieces = []
    for start in range(offset, offset + size, SECTOR):
        wanted = min(SECTOR, offset + size - start)
        try:
            piece = os.pread(fd, wanted, start)
        except OSError:
            piece = bytes(wanted)
        pieces.append(piece)
        if len(piece) < wanted:
            break
    return b"".join(pieces)


def walk(window: Window, offset: int, stop: int, segment: int) -> Iterator[tuple[int, Header]]:
    """Every frame that begins at or after `offset` and ends by `stop`: where it is, and its header."""
    passed = None  # where the payload of the frame before begins
    while offset < stop:
        header = parse(window.at(offset, HEADER_BYTES), segment)
        if header is None or offset + header.size > stop:
            # The header before may have nothing of its own behind it, so what it had us pass over is looked through.
            offset = window.find(MAGIC, offset + 1 if passed is None else passed)
            passed = None
            if offset < 0:
                return
            continue
        yield offset, header
        passed = offset + HEADER_BYTES
        offset += header.size


def payload(window: Window, offset: int, header: Header) -> memoryview:
    """The columns and the body of the frame at `offset`."""
    return window.at(offset, header.size)[HEADER_BYTES:]
