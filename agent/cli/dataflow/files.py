"""A body for Data Flow out of a file: JSON or TOML, or either of them on standard input."""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import state as states
from agent.ncloud.account import Api
from agent.ncloud.data_flow.bodies import Kind, body_problems
from agent.ncloud.data_flow.shapes import shown
from agent.service.exits import Exit

STANDARD_INPUT = Path("-")

Body = Annotated[
    Path, typer.Argument(metavar="FILE", help="The body, as JSON or TOML; `-`: standard input.", readable=False)
]

Value = dict[str, Any]


def checked(path: Path, kind: Kind, api: Api) -> Value:
    """The body in a file. Every mistake in it is printed with its place, and ends the command."""
    return sound(read(path), kind, api, of=_name(path))


def sound(body: Value, kind: Kind, api: Api, *, of: str) -> Value:
    """The body as it is; `of`: where it comes from. Every mistake in it is printed, and ends the command."""
    mistakes = "\n".join(states.printable(f"{of}: {each}") for each in body_problems(kind, body, api))
    if mistakes:
        states.fail(mistakes, Exit.REFUSED)
    return body


def read(path: Path) -> Value:
    """The table in a file. What cannot be read, or is no table, ends the command with the place of the mistake."""
    name = _name(path)
    try:
        raw = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        states.fail(f"{name}: cannot be read: {error.strerror or error}", Exit.INPUT_OUTPUT)
    try:
        return parsed(raw.decode("utf-8-sig"), suffix=path.suffix.lower())
    except UnicodeDecodeError as error:
        states.fail(f"{name}: is not UTF-8 text (byte {error.start})", Exit.REFUSED)
    except ValueError as error:
        states.fail(f"{name}: {error}", Exit.REFUSED)
    except RecursionError:
        states.fail(f"{name}: is nested deeper than any body is", Exit.REFUSED)


def parsed(text: str, *, suffix: str = "") -> Value:
    """
    The table that a text holds. Raises ValueError with the place of the mistake.

    A suffix says which of the two it is; without one a brace at the beginning does, with which no TOML begins.
    """
    if suffix == ".json" or (suffix != ".toml" and text.lstrip().startswith("{")):
        return _json(text)
    if not text.strip():
        raise ValueError("is empty: expected a table, as JSON or TOML")
    try:
        return {name: _plain(value) for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from error


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _json(text: str) -> Value:
    try:
        value = json.loads(text, object_pairs_hook=_table)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (at line {error.lineno}, column {error.colno})") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {shown(value)}")
    return value


def _table(pairs: list[tuple[str, Any]]) -> Value:
    table: Value = {}
    for name, value in pairs:
        # JSON lets the last one win without a word; in a body written by hand it is a mistake.
        if name in table:
            raise ValueError(f"{json.dumps(name, ensure_ascii=False)} is given twice in one object")
        table[name] = value
    return table


def _plain(value: Any) -> Any:
    """TOML's dates as the text that they are in JSON."""
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return value
