"""As much SQL as a read-back needs: a count or columns of one datasource, where one column has one value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LIMIT = 5000  # rows: what the far side adds to a query, and the most it gives

_SELECT = re.compile(
    r"SELECT\s+(?P<what>COUNT\(\*\)(?:\s+AS\s+(?P<name>\w+))?|\*|[\w\", .]+?)\s+FROM\s+\"?[\w.-]+\"?"
    r"(?:\s+WHERE\s+\"(?P<column>[^\"]+)\"\s*=\s*'(?P<value>[^']*)')?(?:\s+LIMIT\s+(?P<limit>\d+))?",
    re.IGNORECASE,
)


def rows(sql: str, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """What a query finds in these events, or None where it is not understood."""
    match = _SELECT.fullmatch(limited(sql).strip())
    if match is None:
        return None
    column, value = match["column"], match["value"]
    tables = [_columns(event) for event in events]
    found = [row for row in tables if column is None or row.get(column) == value]
    if match["what"].upper().startswith("COUNT"):
        return [{match["name"] or "EXPR$0": len(found)}]
    found = found[: int(match["limit"])]
    if match["what"] == "*":
        return found
    names = [name.strip().strip('"') for name in match["what"].split(",")]
    return [{name: row.get(name) for name in names} for row in found]


def limited(sql: str) -> str:
    """
    The query as the far side passes it on: with a LIMIT, where it sees none.

    It looks for the word in capitals between single blanks. Any other way of writing it leaves two, which no
    database understands.
    """
    words = sql.split(" ")
    after = words[words.index("LIMIT") + 1 :] if "LIMIT" in words else []
    if not after or not after[0].isdigit():
        return f"{sql} LIMIT {LIMIT}"
    words[words.index("LIMIT") + 1] = str(min(int(after[0]), LIMIT))
    return " ".join(words)


def _columns(event: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An event's fields as columns: those of inner objects under names with dots."""
    found: dict[str, Any] = {}
    for name, value in event.items():
        if isinstance(value, Mapping):
            found |= _columns(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
