"""
One configuration out of several TOML files: their tables merged, variables put in, every key's place known.

    text --tomllib--> tables --merge--> one tree --variables--> one tree     (`load`)
    place(path) ----- a scan of the text, made only when something has to be said about it

Places are paths of keys and positions, ("sinks", "lake", "timeout"), and stay valid for the merged tree.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config.places import Place, dotted, key_lines
from agent.errors import Problem

# Tables whose members may stand in several files; any other table stands in one.
SHARED = ("collectors", "sinks")
# Arrays of tables that may stand in several files, which add to them.
ADDED = ("events", "dataflow")

# Deeper than any option goes; what walks the tree recurses.
MAX_NESTING = 32
# The whole numbers of TOML (https://toml.io/en/v1.0.0#integer); Python's own reader has no bound.
_WHOLE_NUMBERS = range(-(1 << 63), 1 << 63)

_VARIABLE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)


class Expanded(str):  # noqa: SLOT000 a str with an attribute
    """A string with variables put in. `raw` is what was written: messages show that, as the value may be secret."""

    raw: str


class Unreadable:
    """Stands for a value whose mistake is already listed."""


UNREADABLE = Unreadable()


@dataclass(slots=True)
class File:
    """One file as read, and the lines of its keys once somebody asks."""

    path: Path
    text: str
    lines: dict[Place, int] | None = None

    def line(self, place: Place) -> int | None:
        """The line of a key, or of the nearest table around it."""
        if self.lines is None:
            self.lines = {}
            for found, line in key_lines(self.text):
                self.lines.setdefault(found, line)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


@dataclass(slots=True)
class Document:
    """The merged tree and where its parts came from."""

    tree: dict[str, Any] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    owners: dict[Place, File] = field(default_factory=dict)  # of each table that stands in one file
    local: dict[Place, Place] = field(default_factory=dict)  # of what was added to: its place in its own file
    problems: list[Problem] = field(default_factory=list)
    is_whole: bool = True  # False: a file could not be read at all, so what seems missing may stand there

    def owner(self, place: Place) -> File | None:
        """The file in which something stands."""
        return self.owners.get(place[:2]) or self.owners.get(place[:1])

    def where(self, place: Place) -> str:
        """`agent.toml:14 sinks.lake.timeout`: the form in which every message names its place."""
        file = self.owner(place)
        if file is None:
            return ": ".join(filter(None, [" ".join(str(file.path) for file in self.files), dotted(place)]))
        line = file.line(self.local.get(place[:2], place[:2]) + place[2:])
        return f"{file.path}:{line} {dotted(place)}" if line else f"{file.path}: {dotted(place)}"

    def folder(self, place: Place) -> Path:
        """What a relative path at that place is relative to: the directory of its file."""
        file = self.owner(place)
        return file.path.parent if file else Path()


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Document:
    """Read files, and directories of `*.toml` in lexical order. What is wrong is listed in `problems`."""
    document, read = Document(), list[tuple[File, dict[str, Any]]]()
    for path in _expand_directories(paths, document.problems):
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark in front
            tree = tomllib.loads(text)
        except OSError as error:
            document.problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}"))
        except UnicodeDecodeError as error:
            document.problems.append(Problem(str(path), f"is not UTF-8 text (byte {error.start})"))
        except tomllib.TOMLDecodeError as error:
            document.problems.append(_syntax(path, text, error))
        except ValueError:  # what tomllib lets pass on from int()
            document.problems.append(Problem(str(path), "holds a number of thousands of digits"))
        except RecursionError:
            document.problems.append(Problem(str(path), f"is nested deeper than {MAX_NESTING} levels"))
        else:
            file = File(path, text)
            document.problems += _unusable(file, tree)
            read.append((file, tree))
    document.is_whole = not document.problems
    for file, tree in read:
        _merge(document, file, tree)
    if document.is_whole:
        document.tree = {key: _fill(value, (key,), document, environ) for key, value in document.tree.items()}
    return document


def _expand_directories(paths: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    seen: set[str] = set()
    for path in paths:
        files = [path]
        # os.path says no where Path.is_dir would raise: reading the file then says why.
        if os.path.isdir(path):
            files = sorted(path.glob("*.toml"))
            if not files:
                problems.append(Problem(str(path), "is a directory without any *.toml that can be read"))
        for file in files:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file


def _syntax(path: Path, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    said = str(error)
    if match := re.search(r" \(at line (\d+), column (\d+)\)$", said):
        return Problem(f"{path}:{match[1]}", f"not TOML: {said[: match.start()]}, at column {match[2]}")
    return Problem(f"{path}:{text.count(chr(10)) + 1}", f"not TOML: {said}")


def _unusable(file: File, tree: dict[str, Any]) -> Iterator[Problem]:
    """What TOML, or the program that reads it, can write down and no option can have as its value."""
    waiting: list[tuple[Place, Any]] = [((), tree)]
    while waiting:
        place, value = waiting.pop()
        trouble = ""
        if isinstance(value, (dict, list)) and len(place) >= MAX_NESTING:
            trouble = f"nested deeper than {MAX_NESTING} levels"
        elif isinstance(value, dict):
            waiting += (((*place, key), item) for key, item in value.items())
        elif isinstance(value, list):
            waiting += (((*place, n), item) for n, item in enumerate(value))
        elif isinstance(value, int) and value not in _WHOLE_NUMBERS:
            trouble = "expected a whole number of 64 bits, found a larger one"
        elif isinstance(value, str) and "\0" in value:
            trouble = "expected a text without NUL"
        if trouble:
            top = place[:2]  # deeper, the search for the line would be as deep as the nesting
            line = file.line(top) if len(place) >= MAX_NESTING else file.line(place)
            yield Problem(f"{file.path}:{line} {dotted(place[:MAX_NESTING])}", trouble)


def _merge(document: Document, file: File, tree: dict[str, Any]) -> None:
    document.files.append(file)
    for key, value in tree.items():
        if key in SHARED and isinstance(value, dict) and isinstance(document.tree.get(key, {}), dict):
            document.owners.setdefault((key,), file)
            members = document.tree.setdefault(key, {})
            for name, table in value.items():
                _claim(document, file, (key, name))
                members.setdefault(name, table)
        elif key in ADDED and isinstance(value, list) and isinstance(document.tree.get(key, []), list):
            document.owners.setdefault((key,), file)
            items = document.tree.setdefault(key, [])
            for n, item in enumerate(value):
                document.owners[key, len(items)] = file
                document.local[key, len(items)] = (key, n)
                items.append(item)
        else:
            _claim(document, file, (key,))
            document.tree.setdefault(key, value)


def _claim(document: Document, file: File, place: Place) -> None:
    if first := document.owners.get(place):
        text = f"given twice: here and in {first.path}:{first.line(place)}"
        document.problems.append(Problem(f"{file.path}:{file.line(place)} {dotted(place)}", text))
    else:
        document.owners[place] = file


def _fill(value: Any, place: Place, document: Document, environ: Mapping[str, str]) -> Any:
    """The value with variables put in, however deep they stand."""
    match value:
        case dict():
            return {key: _fill(item, (*place, key), document, environ) for key, item in value.items()}
        case list():
            return [_fill(item, (*place, n), document, environ) for n, item in enumerate(value)]
        case str() if "$" in value:
            try:
                filled = expand(value, environ)
            except ValueError as error:
                document.problems.append(Problem(document.where(place), str(error)))
                return UNREADABLE
            if "${" not in value:
                return filled
            expanded = Expanded(filled)
            expanded.raw = value
            return expanded
        case _:
            return value


def expand(text: str, environ: Mapping[str, str]) -> str:
    """
    Put variables in: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`; `$$` is one `$`.

    A `$` before anything else stays as it is (topics begin with `$share` and `$SYS`). Raises
    ValueError where a variable is missing or wrongly written.
    """

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        parts = _NAME.fullmatch(match[1])
        if not match[2] or parts is None or "${" in match[1]:
            raise ValueError(
                f'expected "${{VAR}}", "${{VAR:-default}}" or "${{VAR:?message}}", found "{match[0]}"; '
                'write "$${" for a "${" that is meant'
            )
        name, form, rest = parts.groups()
        value = environ.get(name)
        if value or (value is not None and form is None):
            return value
        if form == ":-":
            return str(rest)
        if form == ":?" and rest:
            raise ValueError(f"{rest} (the variable {name} is {'not set' if value is None else 'empty'})")
        raise ValueError(f"the variable {name} is {'not set' if value is None else 'empty'}")

    return _VARIABLE.sub(one, text)
