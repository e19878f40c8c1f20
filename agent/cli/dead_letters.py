"""`dead-letters`: what was refused for good, and why."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from agent.cli import state as states
from agent.service.exits import Exit
from agent.spool import dead, letters, recovery

app = typer.Typer(no_args_is_help=True, help="Look at what was refused for good.")

Letter = dict[str, Any]
Sink = Annotated[str | None, typer.Option(help="Only of this sink; `intake`: what never became a record.")]

REASON_WIDTH = 70  # of a line in the list, on a terminal
BINARY_SHOWN = 256  # bytes of a payload that is no text, unless all of it is asked for


@app.callback()
def about() -> None:
    """Look at what was refused for good, and why. Nothing is changed, and no lock is needed."""


@app.command("list")
def show_all(
    state: states.State = None, config: states.Config = None, sink: Sink = None, as_json: states.AsJson = False
) -> None:
    """List dead letters, the oldest first."""
    found = list(_found(states.opened(state, config), sink))
    if as_json:
        states.print_json(found)
    elif not found:
        print("no dead letters")
    else:
        states.print_table(
            ("id", "when", "sink", "from", "topic", "status", "reason"), [_row(letter) for letter in found]
        )


@app.command("show")
def show_one(
    id: Annotated[str, typer.Argument(help="As the list has it.")],
    state: states.State = None,
    config: states.Config = None,
    sink: Sink = None,
    full: Annotated[bool, typer.Option("--full", help="Print all of a payload that is no text.")] = False,
    as_json: states.AsJson = False,
) -> None:
    """Show all of a dead letter, payload and answer included. More than one sink may have refused a record."""
    found = [letter for letter in _found(states.opened(state, config), sink) if _id(letter) == id]
    if not found:
        states.fail(f"no dead letter {id}", Exit.USAGE)
    if as_json:
        states.print_json(found)
        return
    for letter in found:
        _print(letter, full=full)


def _found(directory: Path, sink: str | None) -> Iterator[Letter]:
    """Those in the files, then those still on their way there."""
    kept = letters.look(directory / "dead-letters")
    for letter in (*kept.letters, *_waiting(directory, kept.at)):
        if sink is None or letter.get("sink") == sink:
            yield letter


def _waiting(directory: Path, at: int) -> Iterator[Letter]:
    lane = directory / "lanes" / dead.LANE
    if not lane.is_dir():
        return
    for segment in recovery.lane(lane, lambda *_: None).segments:
        for header, text in recovery.frames(segment):
            if text is None or header.end <= at:
                continue
            for index, line in enumerate(recovery.records(header, text), header.base):
                letter = letters.parsed(line)
                if index >= at and letter is not None:
                    yield {"at": index, **letter}


def _id(letter: Letter) -> str:
    """The record's, or that of the letter where it never became a record."""
    return str(letter.get("id") or f"at-{letter['at']}")


def _when(letter: Letter) -> str:
    try:
        return datetime.fromtimestamp(letter["ts"] / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return "unknown"


def _row(letter: Letter) -> tuple[str, ...]:
    reason = str(letter.get("reason", ""))
    return (
        _id(letter),
        _when(letter),
        str(letter.get("sink", "")),
        str(letter.get("origin", "")),
        _topic(letter),
        str(letter.get("status") or ""),
        reason if len(reason) <= REASON_WIDTH or not sys.stdout.isatty() else reason[: REASON_WIDTH - 1] + "…",
    )


def _topic(letter: Letter) -> str:
    """The tag topic of what was refused: beside a payload that never became a record, else in the record."""
    tags = letter.get("tags")
    if tags is None:
        try:
            tags = orjson.loads(letter["payload"])["tags"]
        except (ValueError, LookupError, TypeError):
            return ""
    return str(tags.get("topic", "")) if isinstance(tags, dict) else ""


def _print(letter: Letter, *, full: bool) -> None:
    print(f"{'id':9} {_id(letter)}\n{'when':9} {_when(letter)}")
    for name, value in letter.items():
        if name in ("id", "ts", "seq", "at", "payload", "encoding") or value in (None, "", {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(f"{name:9} {states.printable(text)}")
    print("payload")
    for line in _payload(letter, full=full).splitlines():
        print(f"  {states.printable(line)}")
    print()


def _payload(letter: Letter, *, full: bool) -> str:
    payload = letter.get("payload", "")
    if letter.get("encoding") == "base64" and isinstance(payload, str):
        data = base64.b64decode(payload)
        shown = data if full else data[:BINARY_SHOWN]
        text = shown.decode("utf-8", "backslashreplace")
        return text if shown == data else f"{text}\n... {len(data) - len(shown)} more bytes; --full shows them"
    return payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2)
