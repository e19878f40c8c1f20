"""
A picture that is one: bytes are a whole PNG, from its signature to its last chunk, or they are refused.

"Portable Network Graphics (PNG) Specification", W3C: 5.2 (signature), 5.3 (chunks), 5.6 (their order).
"""

from __future__ import annotations

import struct
import zlib

from agent.cli.span import Span
from agent.ncloud.asking import Unreadable
from agent.ncloud.cloud_insight import PNG, CloudInsight, Resolution

_FRAME = 12  # bytes of a chunk beside its data: length, type, CRC


def flaw(data: bytes) -> str:
    """What keeps it from being a whole PNG; "" where nothing does. What follows the last chunk is not looked at."""
    if not data.startswith(PNG):
        return "it has no PNG signature"
    at, seen = len(PNG), set[bytes]()
    while b"IEND" not in seen:
        if len(data) < at + _FRAME:
            return f"it ends after {len(data)} bytes, without its last chunk"
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + _FRAME + length
        if len(data) < end:
            return f"it ends after {len(data)} bytes, within a chunk that goes to {end}"
        if not seen and name != b"IHDR":
            return "it does not begin with IHDR"
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return f"its chunk at {at} is damaged: the CRC does not fit"
        seen.add(name)
        at = end
    return "" if b"IDAT" in seen else "there is no picture in it"


async def picture(client: CloudInsight, dashboard: str, widget: str, span: Span, resolution: Resolution) -> bytes:
    """A widget's picture, whole. Raises the DeliveryError that a refusal comes to: Unreadable where it is torn."""
    data = await client.image(dashboard, widget, span.start_ms, span.end_ms, resolution)
    if found := flaw(data):
        raise Unreadable(f"the picture is not whole: {found}")
    return data
