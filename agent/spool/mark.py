"""
A small file that is always whole: two slots, written in turn.

Each slot carries a generation and a CRC; the valid slot of the higher generation counts. A write that
is torn spoils one slot and leaves the other as it was. The file is written out in full when it is
made and never renamed, so that a full disk cannot stop it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from agent.spool.checksum import crc32

SLOT_BYTES = 4096
VERSION = 1
MAGIC = b"\xf6\x00TAmrk\n"

_HEADER = struct.Struct(
    "<8sIIQI"
)  # magic, version, length of the text, generation, CRC of what comes before and of the text
_BEFORE_CRC = struct.Struct("<8sIIQ")


def room(slot: int = SLOT_BYTES) -> int:
    """Bytes of text that fit in a slot."""
    return slot - _HEADER.size


class Mark:
    """One such file. Every method blocks; one thread at a time may write."""

    def __init__(self, path: Path, slot: int = SLOT_BYTES) -> None:
        self.path = path
        self.value: Mapping[str, Any] | None = None  # as found or last written
        self.is_torn = False  # one of two slots is no more what it was: what was found may be older than the last
        self._slot = slot
        self._generation = -1  # not looked at yet
        self._fd = -1

    def load(self) -> bool:
        """
        Read the newest valid slot into `value`; False where there is none in the file.

        Raises FileNotFoundError where there is no file.
        """
        data = self.path.read_bytes()
        self.value = None
        self._generation = 0
        pieces = data[: self._slot], data[self._slot : 2 * self._slot]
        slots = [found for piece in pieces if (found := _read(piece)) is not None]
        if slots:
            self._generation, self.value = max(slots, key=lambda found: found[0])
        # The first write leaves one slot blank, and no later one does.
        blank = self._generation < 2 and not any(pieces[1 - self._generation % 2])
        self.is_torn = len(slots) < 2 and not blank
        return self.value is not None

    def write(self, value: Mapping[str, Any], *, sync: bool = True) -> None:
        """Replace what the file says; durable on return when `sync`. Raises OSError and keeps the old text then."""
        text = orjson.dumps(value)
        if len(text) > room(self._slot):
            raise ValueError(f"{self.path.name}: {len(text)} bytes do not fit in a slot of {self._slot}")
        try:
            if self._generation < 0:
                self._look()
            if self._fd < 0:
                self._open()
            generation = self._generation + 1
            head = _BEFORE_CRC.pack(MAGIC, VERSION, len(text), generation)
            slot = head + crc32(text, crc32(head)).to_bytes(4, "little") + text
            if os.pwrite(self._fd, slot, self._slot * (generation % 2)) != len(slot):
                raise OSError(f"{self.path.name}: short write")
            if sync:
                os.fdatasync(self._fd)
        except OSError:
            # After a failed sync the kernel may call pages clean that never reached the disk:
            # this descriptor is not trusted again, and the next write goes to the same slot.
            self.close()
            raise
        self._generation = generation
        self.value = value

    def sync(self) -> None:
        """Make the last unsynced write durable."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def rename(self, path: Path) -> None:
        """Go on under another name. Raises OSError, and keeps the old one then."""
        with suppress(FileNotFoundError):  # it is still to be made
            self.path.rename(path)
        self.path = path

    def remove(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the descriptor back; the next write opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _look(self) -> None:
        # A file that could not be read at first may hold a higher generation: what is written must outdo it.
        try:
            self.load()
        except FileNotFoundError:
            self._generation = 0

    def _open(self) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < 2 * self._slot:
                # Written, not only claimed: the blocks are ours from now on, whatever the disk's fill.
                missing = 2 * self._slot - os.fstat(fd).st_size
                if os.pwrite(fd, bytes(missing), 2 * self._slot - missing) != missing:
                    raise OSError(f"{self.path.name}: short write")
                os.fsync(fd)
                sync_directory(self.path.parent)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd


def make_directory(path: Path) -> None:
    """Make a directory and what is missing above it, with names that outlive a power cut. Raises OSError."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in missing:
        if os.access(place.parent, os.R_OK):  # what may be written to and not read cannot be synced
            sync_directory(place.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    sync_file(path, os.O_DIRECTORY)


def sync_file(path: Path, flags: int = 0) -> None:
    """Make durable what stands in a file, whoever wrote it. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(slot: bytes) -> tuple[int, Mapping[str, Any]] | None:
    if len(slot) < _HEADER.size:
        return None
    magic, version, length, generation, crc = _HEADER.unpack_from(slot)
    text = slot[_HEADER.size : _HEADER.size + length]
    if (magic, version, len(text)) != (MAGIC, VERSION, length):
        return None
    if crc32(text, crc32(slot[: _BEFORE_CRC.size])) != crc:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return (generation, value) if isinstance(value, dict) else None
