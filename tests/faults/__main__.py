"""
The table of faults, in full (from the folder `tests`):

    python -m faults                     every row, one after the other: more than an hour
    python -m faults far-503 damage      a row, a group
    python -m faults --quick             as `make test` does it; nothing is kept
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import pytest
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from agent import __version__
from faults import kept
from faults.rows import GROUPS, Row, rows, work
from faults.stage import play
from faults.verdict import Outcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m faults", description="Run the table of faults in full.")
    parser.add_argument("names", nargs="*", metavar="ROW|GROUP", help="these alone")
    parser.add_argument("--quick", action="store_true", help="the form that `make test` runs; nothing is kept")
    parser.add_argument("--seed", type=int, help="repeat a run")
    options = parser.parse_args()
    known = {row.id for row in rows()} | set(GROUPS)
    if strange := [name for name in options.names if name not in known]:
        parser.error(f"no such row or group: {', '.join(strange)}")
    wanted = [row for row in rows() if not options.names or {row.id, row.group} & set(options.names)]
    console = Console(stderr=True)
    broken = []
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        bar = progress.add_task("", total=len(wanted))
        for row in wanted:
            progress.update(bar, description=row.id)
            found = _run(row, quick=options.quick, seed=options.seed, say=progress.console.print)
            broken += [f"{row.id}: {problem}" for problem in found]
            progress.advance(bar)
    for problem in broken:
        console.print(problem, style="red", markup=False)
    sys.exit(1 if broken else 0)


def _run(row: Row, *, quick: bool, seed: int | None, say: object) -> list[str]:
    seed = Random().randrange(1 << 32) if seed is None else seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"{row.id}-", ignore_cleanup_errors=True) as folder:
        try:
            outcome = play(row, work(row), Path(folder), quick=quick, seed=seed, say=say)
        except pytest.skip.Exception as lacking:
            outcome = Outcome(problems=[f"left out, this machine lacks something: {lacking}"])
        except Exception as error:  # a row that fails is a result like any other; the next one still runs
            outcome = Outcome(problems=[f"{type(error).__name__}: {error}"])
    seconds = round(time.monotonic() - began, 1)
    broken = outcome.against(row.loss)
    if not quick:
        kept.keep(
            row,
            outcome,
            day=time.strftime("%Y-%m-%d"),
            version=__version__,
            seed=seed,
            times=row.times,
            seconds=seconds,
        )
    Console(stderr=True).print(
        f"{row.id}: {outcome.trials} trials, {outcome.sent} sent, {outcome.lost} lost, "
        f"{sum(outcome.told.values())} told, {outcome.twice} twice, {seconds} s, seed {seed}"
        + (f"  DOES NOT HOLD: {'; '.join(broken)}" if broken else ""),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return broken


if __name__ == "__main__":
    main()
