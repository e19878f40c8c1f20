"""Rows for a schema as a person gives them: NAME=VALUE, or JSON; told apart from mistakes before any is sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from agent.config.messages import did_you_mean
from agent.sinks.cloud_insight.fields import Field

Row = dict[str, Any]


class RowError(ValueError):
    """A row that the service would not keep, or not as it is meant; the message says why."""


def of_pairs(pairs: Sequence[str], fields: Sequence[Field]) -> Row:
    """One row out of NAME=VALUE words. Raises RowError."""
    known = {field.name: field for field in fields}
    row: Row = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise RowError(f'expected NAME=VALUE, found "{pair}"')
        if name in row:
            raise RowError(f"{name} stands twice")
        row[name] = text if name in known and known[name].data_type == "STRING" else _number(text)
    return row


def of_text(text: bytes) -> list[Row]:
    """The rows of an array, of one object, or of objects a line each (NDJSON). Raises RowError."""
    stripped = text.strip()
    if not stripped:
        return []
    try:
        value = orjson.loads(stripped)
    except orjson.JSONDecodeError:
        value = [_line(n, line) for n, line in enumerate(stripped.split(b"\n"), 1) if line.strip()]
    rows = value if isinstance(value, list) else [value]
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise RowError(f'row {n}: expected an object such as {{"host": "a", "load": 0.5}}, found {_found(row)}')
    return rows


def checked(row: Mapping[str, Any], fields: Sequence[Field]) -> Row:
    """
    The row as the service takes it: dimensions as text, true and false as 1 and 0.

    Raises RowError for what it would drop without a word: a field that the schema does not have, a value of another
    type, a row without its id dimension or without any metric.
    """
    known = {field.name: field for field in fields}
    made: Row = {}
    for name, value in row.items():
        if name not in known:
            raise RowError(f"the schema has no field {name}{did_you_mean(name, known)}; it has {', '.join(known)}")
        made[name] = _as(known[name], value)
    for field in fields:
        if field.id_dimension and not made.get(field.name):
            raise RowError(f"expected {field.name}, the dimension that names the target")
    if all(known[name].dimension for name in made):
        metrics = ", ".join(field.name for field in fields if not field.dimension)
        raise RowError(f"expected a metric, found dimensions alone; there are {metrics}")
    return made


def requests(rows: Sequence[Row], *, max_rows: int, max_bytes: int) -> Iterator[list[Row]]:
    """As few requests as the limits allow; a row that is too large by itself goes alone."""
    waiting: list[Row] = []
    size = 0
    for row in rows:
        length = len(orjson.dumps(row)) + 1
        if waiting and (len(waiting) >= max_rows or size + length > max_bytes):
            yield waiting
            waiting, size = [], 0
        waiting.append(row)
        size += length
    if waiting:
        yield waiting


def _line(n: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RowError(f"row {n}: not JSON: {error}") from error


def _number(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _as(field: Field, value: Any) -> Any:
    if isinstance(value, bool):
        value = int(value)
    match field.data_type:
        case "STRING" if isinstance(value, str | int | float):
            return str(value)
        case "FLOAT" if isinstance(value, int | float):
            return value
        case "LONG" | "INTEGER" if isinstance(value, int):
            bits = 64 if field.data_type == "LONG" else 32
            if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
                return value
    raise RowError(f"{field.name}: expected a value of type {field.data_type}, found {_found(value)}")


def _found(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
