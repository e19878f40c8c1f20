"""The dead letter of a payload that never became a record."""

from __future__ import annotations

import base64

import orjson

from agent.record import Emission, Stream

MAX_DEAD_PAYLOAD = 64 * 1024  # of a payload kept in its dead letter: enough to see what was wrong


def dead_letter(emission: Emission, stream: Stream, payload: bytes, reason: str) -> bytes:
    """The dead letter of a payload that never became a record."""
    text, encoding = readable(payload)
    return orjson.dumps(
        {
            "id": None,
            "sink": "intake",
            "ts": emission.received_ms,
            "origin": emission.origin,
            "source": stream.source,
            "tags": dict(stream.tags),
            "reason": reason,
            "status": None,
            "answer": "",
            "payload": text,
            "encoding": encoding,
            "size": len(payload),
        }
    )


def readable(payload: bytes) -> tuple[str, str]:
    """A payload as text, and which encoding that text has: utf8, or base64 where it is no UTF-8."""
    cut = payload[:MAX_DEAD_PAYLOAD]
    try:
        return cut.decode(), "utf8"
    except UnicodeDecodeError as error:
        if len(cut) < len(payload) and error.start >= len(cut) - 3:
            # A character cut in two at the very end is the cut's fault, not the payload's.
            return cut[: error.start].decode(), "utf8"
        return base64.b64encode(cut).decode("ascii"), "base64"
