"""Writes values as TOML, for the files and pages that commands make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key(name: str) -> str:
    """A key as it stands before the `=`."""
    return name if _BARE.fullmatch(name) else _string(name)


def value(item: Any) -> str:
    """A value on one line."""
    match item:
        case bool():
            return "true" if item else "false"
        case str():
            return _string(item)
        case int() | float():
            return repr(item)
        case Mapping():
            inner = ", ".join(f"{key(name)} = {value(each)}" for name, each in item.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return "[" + ", ".join(value(each) for each in item) + "]"
        case _:
            return str(item)  # dates and times


def wrapped(name: str, item: Any, width: int) -> list[str]:
    """`name = value`, a list that is longer than `width` over several lines."""
    line = f"{key(name)} = {value(item)}"
    if len(line) <= width or not isinstance(item, (list, tuple)):
        return [line]
    lines = [f"{key(name)} = ["]
    row = ""
    for each in item:
        text = f"{value(each)},"
        if row and len(row) + len(text) >= width:
            lines.append(row)
            row = ""
        row = f"{row} {text}" if row else text
    return [*lines, row, "]"]


def tables(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a tree of tables. Below [sinks.NAME] and its like, tables stand on one line."""
    inner = {name: item for name, item in tree.items() if item and isinstance(item, Mapping) and len(path) < 2}
    arrays = {name: item for name, item in tree.items() if item and _is_array_of_tables(item)}
    rows = [f"{key(name)} = {value(item)}" for name, item in tree.items() if name not in inner | arrays]
    if rows or (path and not inner):
        if path:
            yield f"[{_dotted(path)}]"
        yield from rows
        yield ""
    for name, items in arrays.items():
        for item in items:
            yield f"[[{_dotted((*path, name))}]]"
            yield from (f"{key(part)} = {value(each)}" for part, each in item.items())
            yield ""
    for name, item in inner.items():
        yield from tables(item, (*path, name))


def _is_array_of_tables(item: Any) -> bool:
    return isinstance(item, list) and all(isinstance(each, Mapping) for each in item)


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(map(key, path))


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for surrogates, which a TOML file cannot hold anyway.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
