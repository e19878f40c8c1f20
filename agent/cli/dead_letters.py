"""`dead-letters`: what was refused for good, and why; and what is to become of it (agent.cli.replay)."""

from __future__ import annotations

import base64
import json
import sys
from datetime import datetime
from typing import Annotated

import orjson
import typer

from agent.cli import state as states
from agent.cli.letters import found
from agent.cli.replay import drop, replay
from agent.service.exits import Exit
from agent.spool.lines import Letter, identity, sink_of

app = typer.Typer(no_args_is_help=True, help="What was refused for good: look at it, try it again, drop it.")

Sink = Annotated[str | None, typer.Option(help="Only of this sink; `intake`: what never became a record.")]

REASON_WIDTH = 70  # of a line in the list, on a terminal
BINARY_SHOWN = 256  # bytes of a payload that is no text, unless all of it is asked for


@app.callback()
def about() -> None:
    """
    Look at what was refused for good and why, give it back to the sink that refused it, or drop it.

    Looking changes nothing. The rest goes through the running agent, or takes its lock where none runs.
    """


@app.command("list")
def show_all(
    state: states.State = None, config: states.Config = None, sink: Sink = None, as_json: states.AsJson = False
) -> None:
    """List dead letters, the oldest first."""
    directory = states.opened(state, config)
    letters = list(found(directory, sink))
    if as_json:
        states.print_json(letters)
    elif not letters:
        others = sorted({sink_of(letter) for letter in found(directory, None)} - {sink})
        print(_none(sink, others))
    else:
        states.print_table(
            ("id", "when", "sink", "from", "topic", "status", "reason"), [_row(letter) for letter in letters]
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
    letters = [letter for letter in found(states.opened(state, config), sink) if identity(letter) == id]
    if not letters:
        states.fail(f"no dead letter {id}", Exit.USAGE)
    if as_json:
        states.print_json(letters)
        return
    for letter in letters:
        _print(letter, full=full)


app.command()(replay)
app.command()(drop)


def _when(letter: Letter) -> str:
    try:
        return datetime.fromtimestamp(letter["ts"] / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return "unknown"


def _row(letter: Letter) -> tuple[str, ...]:
    reason = str(letter.get("reason", ""))
    return (
        identity(letter),
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
    print(f"{'id':9} {identity(letter)}\n{'when':9} {_when(letter)}")
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


def _none(sink: str | None, others: list[str]) -> str:
    """That there are none of this sink; whose there are, because a name is easily misspelt."""
    if sink is None or not others:
        return "no dead letters"
    return f"no dead letters of {sink}; there are some of {', '.join(others)}"
