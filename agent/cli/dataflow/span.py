"""A span of time as the command line has it: `--from` and `--to`, or `--last`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from agent.cli import state as states
from agent.service.exits import Exit
from agent.units import parse_duration

From = Annotated[
    str | None, typer.Option("--from", help="Beginning, such as 2026-11-01 or 2026-11-01T09:30; local time.")
]
To = Annotated[str | None, typer.Option("--to", help="End, likewise. [default: now]")]
Last = Annotated[str | None, typer.Option("--last", help="A span that ends now, such as 24h or 7d.")]


def span(start: str | None, end: str | None, last: str | None) -> tuple[datetime, datetime]:
    """Beginning and end of what was asked for. A span that is none ends the command."""
    if (start is None) == (last is None) or (last is not None and end is not None):
        states.fail("say which time: --from with or without --to, or --last", Exit.USAGE)
    until = datetime.now(UTC) if end is None else _moment("--to", end)
    if last is not None:
        try:
            begin = until - timedelta(seconds=parse_duration(last))
        except (ValueError, OverflowError):
            states.fail(f'--last: expected a duration such as "24h", found "{last}"', Exit.USAGE)
    else:
        begin = _moment("--from", str(start))
    if begin >= until:
        states.fail(f"the beginning, {_said(begin)}, is not before the end, {_said(until)}", Exit.USAGE)
    return begin, until


def seconds(option: str, text: str) -> float:
    """A duration in seconds, more than none. What is none ends the command."""
    try:
        found = parse_duration(text)
    except ValueError:
        found = 0.0
    if not found:
        states.fail(f'{option}: expected a duration such as "30m", found "{text}"', Exit.USAGE)
    return found


def _moment(option: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        states.fail(f'{option}: expected a date such as 2026-11-01T09:30, found "{text}"', Exit.USAGE)


def _said(when: datetime) -> str:
    return when.astimezone().isoformat(sep=" ", timespec="seconds")
