"""The one checksum of everything on disk: CRC-32 as in zlib, taken from isal where there is a wheel of it."""

from __future__ import annotations

from collections.abc import Callable

crc32: Callable[..., int]

try:
    from isal import isal_zlib

    crc32 = isal_zlib.crc32  # the same values at a tenth of the cost
except ImportError:
    import zlib

    crc32 = zlib.crc32
