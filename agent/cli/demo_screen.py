"""What the demo shows while it runs: a live table on a terminal, a line a second elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How things stand with one cloud."""

    cloud: str
    taken: int
    stored: str  # at the cloud, in its own units
    queued: int
    queued_bytes: int
    lag: float
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How things stand."""

    seconds: float  # since the devices began
    phase: str  # "publishing", "obsrv is down", "draining"
    readings: int  # acknowledged to the devices
    alarms: int
    rows: Sequence[Row]


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
    parts = [f"{moment.seconds:4.0f}s  {moment.phase:12}  acknowledged {moment.readings} + {moment.alarms} alarms"]
    for row in moment.rows:
        spool = f"spool {row.queued} ({_size(row.queued_bytes)})"
        parts.append(f"{row.cloud} {row.state}, taken {row.taken}, stored {row.stored}, {spool}, lag {row.lag:.1f}s")
    return " | ".join(parts)


def table(moment: Moment, title: str) -> Table:
    """All of it, one cloud a row."""
    caption = (
        f"{moment.seconds:.0f} s, {moment.phase}; acknowledged to the devices: {moment.readings:,} readings, "
        f"{moment.alarms:,} alarms"
    )
    grid = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    grid.add_column("cloud", style="bold")
    grid.add_column("taken in", justify="right", min_width=8)
    grid.add_column("in the spool", justify="right", min_width=14)
    grid.add_column("lag", justify="right", min_width=6)
    grid.add_column("stored there", justify="right", min_width=13)
    grid.add_column("state", min_width=8)
    for row in moment.rows:
        spool = f"{row.queued:,} ({_size(row.queued_bytes)})"
        grid.add_row(row.cloud, f"{row.taken:,}", spool, f"{row.lag:.1f} s", row.stored, row.state)
    return grid


def _size(size: int) -> str:
    return f"{size / 1024:.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"
