"""The time that is asked about: `--last 1h`, or `--from` and `--to`."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, NamedTuple

import typer

from agent.cli import state as states
from agent.service.exits import Exit
from agent.units import parse_duration

USUAL = "1h"  # where neither --last nor --from is given
_EARLIEST = 100_000_000_000  # ms: 1973. What is less was meant to be seconds, or a date without its dashes

_MOMENT = "ISO 8601 (without a zone: this machine's) or milliseconds since 1970"
Last = Annotated[
    str | None, typer.Option("--last", help=f"So much time until --to, such as 90m or 7d. [default: {USUAL}]")
]
From = Annotated[str | None, typer.Option("--from", help=f"Beginning: {_MOMENT}.")]
To = Annotated[str | None, typer.Option("--to", help="End, likewise. [default: now]")]


class Span(NamedTuple):
    """From one time to a later one, in ms of the epoch."""

    start_ms: int
    end_ms: int

    def moments(self) -> tuple[datetime, datetime]:
        """Both, in this machine's zone."""
        start, end = (datetime.fromtimestamp(ms / 1000).astimezone() for ms in self)
        return start, end

    def __str__(self) -> str:
        return f"{shown(self.start_ms)} to {shown(self.end_ms)}"


def span(last: str | None, since: str | None, until: str | None, usual: str = USUAL) -> Span:
    """What is meant; `usual`: --last where nothing is said. A time that is none ends the command."""
    if last is not None and since is not None:
        states.fail("expected --last or --from, found both", Exit.USAGE)
    end = round(time.time() * 1000) if until is None else _moment("--to", until)
    start = end - round(seconds("--last", last or usual) * 1000) if since is None else _moment("--from", since)
    if not 0 <= start < end:
        found = f"{shown(start)} to {shown(end)}"
        states.fail(f"expected a time that ends after its beginning, and begins after 1970, found {found}", Exit.USAGE)
    return Span(start, end)


def shown(ms: int) -> str:
    """A time as people here read it, with the zone."""
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):  # of no calendar
        return f"{ms} ms"


def seconds(option: str, text: str) -> float:
    """A duration in seconds, more than none. What is none ends the command."""
    try:
        length = parse_duration(text)
    except ValueError:
        length = 0.0
    if not length:
        states.fail(f'{option}: expected a duration such as "90m" or "7d", found "{text}"', Exit.USAGE)
    return length


def _moment(option: str, text: str) -> int:
    if text.isascii() and text.isdigit():
        if (found := int(text)) >= _EARLIEST:
            return found
        states.fail(f"{option}: expected milliseconds (13 digits today), found {text}", Exit.USAGE)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        states.fail(f'{option}: expected {_MOMENT}, found "{text}"', Exit.USAGE)
