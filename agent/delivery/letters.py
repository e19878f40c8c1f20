"""The dead letter of a record that a far side refused."""

from __future__ import annotations

import base64
import time

import orjson

from agent.record import record_id


def dead_letter(
    sink: str, segment: int, index: int, record: bytes, reason: str, status: int | None = None, answer: str = ""
) -> bytes:
    """One JSON object: which record, whose refusal, what was said, and the record itself."""
    source, payload, encoding = "", "", "json"
    try:
        payload = record.decode()
        source = str(orjson.loads(record)["source"])
    except (ValueError, KeyError, TypeError):
        # A record is checked JSON; one that is not was damaged in a way that its checksum does not show.
        payload, encoding = base64.b64encode(record).decode("ascii"), "base64"
    return orjson.dumps(
        {
            "id": record_id(segment, index),
            "sink": sink,
            "ts": time.time_ns() // 1_000_000,
            "origin": source,
            "reason": reason,
            "status": status,
            "answer": answer,
            "payload": payload,
            "encoding": encoding,
        }
    )
