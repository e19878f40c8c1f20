"""
A batch's body: one line that says which object it is, then the object.

    {"key":"telemetry/...-a1b2c3d4.ndjson.gz","md5":"...","sha256":"..."}
    <the object's bytes>

The digests are made where the object is, off the event loop, and once however often it is sent.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

_compressor: Callable[..., Any]

try:
    from isal import isal_zlib

    _compressor = isal_zlib.compressobj  # a fifteenth of zlib's cost, the same size
    LEVEL = 2
except ImportError:  # no wheel for this platform
    _compressor = zlib.compressobj
    LEVEL = 6

GZIP = 16 + zlib.MAX_WBITS  # a gzip header with neither name nor time, so that the bytes repeat


class Stored(msgspec.Struct, frozen=True):
    """An object: where it goes, and what it is to be checked by."""

    key: str
    md5: str  # base64, as Content-MD5 has it
    sha256: str  # hexadecimal, as x-amz-content-sha256 has it


_stored = msgspec.json.Decoder(Stored).decode


def compressed(data: bytes) -> list[bytes]:
    """The data as a gzip file, in pieces. The same data always give the same bytes."""
    packer = _compressor(LEVEL, zlib.DEFLATED, GZIP)
    return [packer.compress(data), packer.flush()]


def packed(key: str, pieces: Iterable[bytes]) -> bytes:
    """The body of an object that consists of these pieces."""
    kept = list(pieces)
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for piece in kept:
        md5.update(piece)
        sha256.update(piece)
    head = Stored(key, b64encode(md5.digest()).decode(), sha256.hexdigest())
    return b"\n".join([msgspec.json.encode(head), b"".join(kept)])


def unpacked(body: bytes) -> tuple[Stored, bytes]:
    """What `packed` has put together."""
    end = body.index(b"\n")
    return _stored(body[:end]), body[end + 1 :]
