"""Where a key stands in a TOML text: the line of everything, for messages that name their place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Place = tuple[str | int, ...]  # ("sinks", "lake", "timeout"), ("collectors", "plant", "subscriptions", 1, "qos")


def dotted(place: Place) -> str:
    """`sinks.lake.timeout`, `collectors.plant.subscriptions[1].qos`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> Iterator[tuple[Place, int]]:
    """
    The line of every key, table header and array item of a TOML text that `tomllib` has accepted.

    tomllib gives no positions. As it has checked the text, this only has to find its way through.
    """
    at = 0
    table: Place = ()
    counts: dict[Place, int] = {}  # how many [[tables]] of that name so far

    def line() -> int:
        return text.count("\n", 0, at) + 1

    def key() -> list[str]:
        nonlocal at
        parts = []
        while True:
            match = _KEY.match(text, _end(_SPACE, at))
            assert match is not None  # noqa: S101 tomllib has accepted the text
            word = match[0]
            parts.append(word if word[0] not in "\"'" else str(tomllib.loads(f"k = {word}")["k"]))
            at = _end(_SPACE, match.end())
            if text[at] != ".":
                return parts
            at += 1

    def _end(pattern: re.Pattern[str], start: int) -> int:
        match = pattern.match(text, start)
        return match.end() if match else start

    def pair(table: Place) -> Iterator[tuple[Place, int]]:
        nonlocal at
        here = line()
        place = table
        for part in key():
            place = (*place, part)
            yield place, here
        at = _end(_SPACE, at + 1)  # past the =
        yield from value(place)

    def value(place: Place) -> Iterator[tuple[Place, int]]:
        nonlocal at
        if text[at] in "\"'":
            at = _end(_STRING, at)
        elif text[at] not in "[{":
            at = _end(_SCALAR, at)
        else:
            close, position = ("]", 0) if text[at] == "[" else ("}", None)
            at = _end(_BLANK, at + 1)
            while text[at] != close:
                if position is None:
                    yield from pair(place)
                else:
                    yield (*place, position), line()
                    yield from value((*place, position))
                    position += 1
                at = _end(_BLANK, at)
                at = _end(_BLANK, at + 1) if text[at] == "," else at
            at += 1

    while (at := _end(_BLANK, at)) < len(text):
        if text[at] != "[":
            yield from pair(table)
            continue
        here, brackets = line(), 2 if text.startswith("[[", at) else 1
        at += brackets
        table = ()
        for part in key():
            # A header names the newest member of an array of tables.
            table = (*table, counts[table] - 1) if table in counts else table
            table = (*table, part)
            yield table, here
        if brackets == 2:
            yield table, here
            counts[table] = counts.get(table, 0) + 1
            table = (*table, counts[table] - 1)
        elif table in counts:
            table = (*table, counts[table] - 1)
        yield table, here
        at += brackets
