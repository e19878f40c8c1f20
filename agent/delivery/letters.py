"""The dead letter of a record that a far side refused."""

from __future__ import annotations

import base64
import time

import orjson

from agent.delivery.piece import Piece
from agent.record import Run, record_id


def letters_of(sink: str, piece: Piece, run: Run) -> list[bytes]:
    """A dead letter for each record of a piece that is refused, or that its sink can never send."""
    error, unfit = piece.error, piece.unfit or {}
    reason = "refused" if error is None else error.reason
    status, answer = (None, "") if error is None or unfit else (error.status, error.answer)
    return [
        dead_letter(sink, run.segment_id, index, record, unfit.get(index) or reason, status, answer)
        for index, record in enumerate(run.records(), run.first)
    ]


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
