"""From the bytes of a request to its value: strict JSON, UTF-8, not compressed unless that is switched on."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

from agent.sandbox.ncloud.answers import RefusedError
from agent.sandbox.ncloud.settings import Settings


class UnreadableError(ValueError):
    """It is not JSON."""


def plain(headers: Mapping[str, str], raw: bytes, settings: Settings) -> bytes:
    """The body without its compression. RefusedError where the gateway stops at it."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if settings.json_only and kind not in ("", "application/json"):
        raise RefusedError("100", f"Content-Type {kind} is not supported.")
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "gzip" and settings.takes_gzip:
        stream = zlib.decompressobj(31)
        try:
            raw = stream.decompress(raw, settings.body_limit + 1)
        except zlib.error:
            raise RefusedError("100", "The body is not gzip.") from None
        if len(raw) > settings.body_limit:
            raise RefusedError("430", "The body is too large.")
        if not stream.eof:
            raise RefusedError("100", "The body is cut off.")
    elif encoding != "identity":
        raise RefusedError("100", f"Content-Encoding {encoding} is not supported.")
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise RefusedError("100", "The body is not UTF-8.") from None
    return raw


def parse(text: bytes) -> object:
    """Its value, None where there is no body. UnreadableError."""
    if not text:
        return None
    try:
        # Decoded first: given bytes, json.loads would also guess at UTF-16 and take a byte order mark.
        return json.loads(text.decode(), parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
