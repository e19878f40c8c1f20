"""What the demo shows while it runs: a live table on a terminal, a line a second elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How things stand."""

    seconds: float  # since the devices began
    phase: str  # "publishing", "obsrv is down", "draining"
    acknowledged: int
    taken: int
    queued: int
    queued_bytes: int
    lag: float
    sink: str
    stored: int
    requests: int


class Show(Protocol):
    """Takes each moment as it comes."""

    def __call__(self, moment: Moment) -> None:
        """Show it."""


@contextmanager
def screen(console: Console, title: str) -> Iterator[Show]:
    """A place to show moments on, for as long as the block lasts."""
    if not console.is_terminal:
        console.print(title, highlight=False, soft_wrap=True)
        yield lambda moment: console.print(line(moment), highlight=False, soft_wrap=True)
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield lambda moment: live.update(table(moment, title), refresh=True)


def line(moment: Moment) -> str:
    """All of it on one line."""
    return (
        f"{moment.seconds:4.0f}s  {moment.phase:13}  acknowledged {moment.acknowledged}  taken {moment.taken}  "
        f"spool {moment.queued} ({_size(moment.queued_bytes)})  lag {moment.lag:.1f}s  sink {moment.sink}  "
        f"stored {moment.stored}"
    )


def table(moment: Moment, title: str) -> Table:
    """All of it, one part a row."""
    rows = (
        ("devices", "acknowledged to them", f"{moment.acknowledged:,}", moment.phase),
        ("agent", "taken in, host metrics too", f"{moment.taken:,}", ""),
        ("spool", "waiting on disk", f"{moment.queued:,}", _size(moment.queued_bytes)),
        ("sink", "lag", f"{moment.lag:.1f} s", moment.sink),
        ("obsrv", "stored", f"{moment.stored:,}", f"{moment.requests:,} requests"),
    )
    grid = Table(title=title, title_justify="left", caption=f"{moment.seconds:.0f} s", caption_justify="left")
    grid.add_column("part", style="bold")
    grid.add_column("what")
    grid.add_column("now", justify="right", min_width=9)
    grid.add_column("", min_width=16)
    for row in rows:
        grid.add_row(*row)
    return grid


def _size(size: int) -> str:
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"
