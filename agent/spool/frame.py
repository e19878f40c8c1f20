"""
The frame: the unit that is written, checked and lost as a whole (docs/spool-format.md).

    header (its own CRC) | origin | record lengths | packet ids | payload hashes | body

The body is the records joined by commas, so that a batch is cut out of it without touching a record.
The columns and the body share one CRC, which stands in the header.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from typing import NamedTuple

from agent.spool.checksum import crc32
from agent.spool.part import Kind

VERSION = 1
# 0xF6 is in no UTF-8 text and 0x00 in no JSON: no payload can hold this.
MAGIC = b"\xf6\x00TAfrm\n"
BODY_BYTES = 64 * 1024  # a longer body is one record
NO_BOOT = bytes(16)

_HEADER = struct.Struct("<8sBBHQQQIIIIIIqqqq16sI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size

WRONG_CLOCK = 1  # flag: the wall times below were stamped by a clock known to be wrong


class Header(NamedTuple):
    """What stands before every frame."""

    magic: bytes
    version: int
    kind: int
    flags: int
    segment: int  # the id of the segment it was written to
    group: int  # number of the group commit, over all lanes and starts
    base: int  # lane-wide index of its first record
    records: int
    origin_bytes: int
    packets_bytes: int
    hashes_bytes: int
    more_bytes: int  # columns of later versions, after the hashes; skipped
    body_bytes: int
    oldest_ms: int  # wall clock of arrival
    newest_ms: int
    oldest_boot_ms: int  # the same moments on CLOCK_BOOTTIME
    newest_boot_ms: int
    boot: bytes
    payload_crc: int

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.base + self.records

    @property
    def columns_bytes(self) -> int:
        """Bytes between header and body."""
        return self.origin_bytes + 4 * self.records + self.packets_bytes + self.hashes_bytes + self.more_bytes

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEADER_BYTES + self.columns_bytes + self.body_bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """When the records of a frame were taken in."""

    oldest_ms: int
    newest_ms: int
    oldest_boot_ms: int
    newest_boot_ms: int
    boot: bytes = NO_BOOT
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A frame that lacks only its place: segment, group and base index are known when it is written."""

    kind: Kind
    stamp: Stamp
    origin_bytes: int
    count: int
    packets_bytes: int
    hashes_bytes: int
    columns: bytes
    body: bytes
    crc: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEADER_BYTES + len(self.columns) + len(self.body)

    def header(self, segment: int, group: int, base: int) -> bytes:
        """The header for that place."""
        stamp = self.stamp
        packed = _HEADER.pack(
            MAGIC,
            VERSION,
            self.kind,
            stamp.flags,
            segment,
            group,
            base,
            self.count,
            self.origin_bytes,
            self.packets_bytes,
            self.hashes_bytes,
            0,
            len(self.body),
            stamp.oldest_ms,
            stamp.newest_ms,
            stamp.oldest_boot_ms,
            stamp.newest_boot_ms,
            stamp.boot,
            self.crc,
        )
        return packed + _CRC.pack(crc32(packed))


def draft(
    kind: Kind,
    stamp: Stamp,
    origin: bytes,
    body: bytes,
    lengths: array[int],
    packets: array[int] | None = None,
    hashes: array[int] | None = None,
) -> Draft:
    """A frame of these records: `lengths` are of type "I", `packets` of "H", `hashes` of "Q"."""
    packed = b"" if packets is None else _little(packets)
    hashed = b"" if hashes is None else _little(hashes)
    columns = b"".join((origin, _little(lengths), packed, hashed))
    crc = crc32(body, crc32(columns))
    return Draft(kind, stamp, len(origin), len(lengths), len(packed), len(hashed), columns, body, crc)


def parse(data: bytes | memoryview, segment: int | None = None) -> Header | None:
    """The header at the start of `data`, or None where there is no whole one (of that segment)."""
    if len(data) < HEADER_BYTES:
        return None
    header = Header._make(_HEADER.unpack_from(data))
    if (
        header.magic != MAGIC
        or header.version != VERSION
        or (segment is not None and header.segment != segment)
        or _CRC.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size])
    ):
        return None
    sound = (
        header.records > 0
        and header.packets_bytes in (0, 2 * header.records)
        and header.hashes_bytes in (0, 8 * header.records)
        and header.body_bytes >= header.records - 1
    )
    return header if sound else None


def is_whole(header: Header, payload: bytes | memoryview) -> bool:
    """Whether the columns and body that follow a header are those it was written with."""
    return len(payload) == header.columns_bytes + header.body_bytes and crc32(payload) == header.payload_crc


def origin_of(header: Header, payload: bytes | memoryview) -> str:
    """The name of the collector the records came from."""
    return bytes(payload[: header.origin_bytes]).decode(errors="replace")  # whoever wrote it, it is only looked up


def lengths_of(header: Header, payload: bytes | memoryview) -> array[int]:
    """The bytes of each record."""
    start = header.origin_bytes
    return _column("I", payload[start : start + 4 * header.records])


def claims_of(header: Header, payload: bytes | memoryview) -> tuple[array[int], array[int]] | None:
    """The packet id and payload hash of each record, where the frame has them."""
    if not header.packets_bytes or not header.hashes_bytes:
        return None
    start = header.origin_bytes + 4 * header.records
    middle = start + header.packets_bytes
    return _column("H", payload[start:middle]), _column("Q", payload[middle : middle + header.hashes_bytes])


def _little(column: array[int]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _column(code: str, data: bytes | memoryview) -> array[int]:
    column = array(code)
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column
