"""SendData: rows in. 200 is no promise; `result` says a little, and nothing says what became of a row."""

from __future__ import annotations

from collections.abc import Mapping

from agent.sandbox.ncloud import rows
from agent.sandbox.ncloud.answers import Answer, RefusedError, sent
from agent.sandbox.ncloud.rows import Row
from agent.sandbox.ncloud.schemas import Schema
from agent.sandbox.ncloud.state import Call, State


def send(state: State, call: Call) -> Answer:
    """Take one request's rows."""
    settings = state.settings
    if not isinstance(call.value, dict):
        return sent(settings.failure, "the body must be an object")
    cw_key, data = call.value.get("cw_key"), call.value.get("data")
    records = data if isinstance(data, list) else [] if data is None else [data]
    call.entry.rows = len(records)
    if cw_key is None or cw_key == "":
        # "A record without cw_key is ignored and discarded"; with which words is not said.
        state.ledger.discard("no cw_key", "", len(records), call.position)
        return sent(settings.without_key)
    # A number would have lost its last digits on the way, so it is not even compared.
    schema = state.schemas.find(cw_key) if isinstance(cw_key, str) else None
    if schema is None:
        reason = "unknown cw_key" if isinstance(cw_key, str) else "cw_key is not a string"
        state.ledger.discard(reason, str(cw_key)[:40], len(records), call.position)
        return sent(settings.unknown_key, f"{reason}: {str(cw_key)[:40]}")
    if not isinstance(data, dict | list):
        return sent(settings.failure, "data must be an object or an array")
    if settings.max_rows is not None and len(records) > settings.max_rows:
        state.ledger.discard("too many rows", schema.cw_key, len(records), call.position)
        if settings.too_many_rows == "status":
            raise RefusedError("430", "Too many records.")
        return sent(settings.failure, f"at most {settings.max_rows} records")
    if settings.mistyped == "request" and any(_wrong(schema, record) for record in records):
        state.ledger.discard("mistyped", schema.cw_key, len(records), call.position)
        return sent(settings.failure, "invalid data type")
    kept = [row for record in records if (row := _row(state, schema, record, call)) is not None]
    state.ledger.store(schema.cw_key, kept)
    return sent(settings.success, stored=bool(kept))


def _wrong(schema: Schema, record: object) -> bool:
    return not isinstance(record, dict) or rows.sort(schema, record).mistyped


def _row(state: State, schema: Schema, record: object, call: Call) -> Row | None:
    settings = state.settings
    if not isinstance(record, dict):
        state.ledger.discard("not an object", schema.cw_key, 1, call.position)
        return None
    found = rows.sort(schema, record)
    if found.mistyped and settings.mistyped == "row":
        state.ledger.discard("mistyped", schema.cw_key, 1, call.position)
        return None
    if not found.metrics:
        state.ledger.discard("no metric", schema.cw_key, 1, call.position)
        return None
    region = call.entry.region
    return Row(
        cw_key=schema.cw_key,
        at=_time(record, call) if settings.honours_timestamp else call.now_ms,
        arrived=call.now_ms,
        request=call.position,
        target=rows.target(schema, found.dimensions),
        dimensions=found.dimensions,
        metrics=found.metrics,
        region=region,
        aggregated=settings.needs_region in (None, region),
        dropped=found.dropped,
    )


def _time(record: Mapping[str, object], call: Call) -> int:
    given = record.get("timestamp")
    return given if isinstance(given, int) and not isinstance(given, bool) else call.now_ms
