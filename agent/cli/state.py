"""What the commands share that look into a state directory: which one, and how they print it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn
from unicodedata import combining, east_asian_width

import orjson
import typer

from agent import __version__
from agent.config import DEFAULT_PATH, document
from agent.config.settings import Spool
from agent.errors import ConfigError
from agent.service.exits import Exit
from agent.service.logs import setup_logging
from agent.spool.state import check_format

# What cannot be read is said where it is read, with one exit code for all commands, and not by typer.
State = Annotated[
    Path | None, typer.Option(help="The state directory. [default: as the configuration has it]", readable=False)
]
Config = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        help=f"A file, or a directory of *.toml; may be repeated. [default: {DEFAULT_PATH}]",
        readable=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def directory(state: Path | None, config: Sequence[Path] | None) -> Path:
    """
    The state directory that is meant. Raises ConfigError where the files cannot be read.

    Only that one key is looked at: the secrets and plugins of the rest may not be there for whoever asks.
    """
    if state is not None:
        return state
    read = document.load(config or [DEFAULT_PATH], os.environ)
    if not read.is_whole:
        raise ConfigError(read.problems)
    table = read.tree.get("spool")
    given = table.get("directory") if isinstance(table, dict) else None
    place = ("spool", "directory")
    return read.folder(place) / given if isinstance(given, str) else Spool().directory


def opened(state: Path | None, config: Sequence[Path] | None) -> Path:
    """The state directory that is meant, if there is one that this version can read. It is not locked."""
    # The spool's own remarks are no part of what a command prints.
    setup_logging("warning", "text")
    path = directory(state, config)
    check_format(path, __version__)
    if not (path / "format").is_file() and not (path / "lanes").is_dir():
        fail(f'{path}: not a state directory (no file "format"); give --state the [spool] directory', Exit.INPUT_OUTPUT)
    return path


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns under their names, numbers to the right."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(head, *texts, strict=True)]
    numbers = [bool(rows) and all(isinstance(row[n], int | float) for row in rows) for n in range(len(head))]
    for row in (head, *texts):
        cells = (
            f"{blank}{cell}" if number else f"{cell}{blank}"
            for cell, width, number in zip(row, widths, numbers, strict=True)
            for blank in (" " * (width - _columns(cell)),)
        )
        print("  ".join(cells).rstrip())


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: Korean, Chinese and Japanese letters take two."""
    if text.isascii():
        return len(text)
    return sum(1 + (east_asian_width(char) in "WF") for char in text if not combining(char))


def printable(text: str) -> str:
    """A text that cannot move a terminal's cursor: what it came from may be anybody's."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size(count: int) -> str:
    """Bytes as people read them."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def fail(text: str, code: int) -> NoReturn:
    """Say why on standard error and exit."""
    print(text, file=sys.stderr)
    raise typer.Exit(code)
