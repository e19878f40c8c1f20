"""How a long piece of work gets on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10.0

Show = Callable[[int], None]  # how much is done by now


@contextmanager
def shown(doing: str, total: int) -> Iterator[Show]:
    """A place on standard error to show it, for as long as the block lasts."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(doing, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(doing: str, total: int) -> Show:
    last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            print(f"{doing}: {done} of {total}", file=sys.stderr, flush=True)

    return show
