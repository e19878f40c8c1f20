"""Figures of micro-benchmarks: rounds of µs a record, their median, and the ratio to what ran beside them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.table import spread

ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a table: a step, the yardstick it is compared with, and the most it may cost."""

    step: str
    beside: str | None = None
    target: float | None = None


class Spent:
    """µs of CPU a record by step, all threads of this process together."""

    def __init__(self) -> None:
        self.micros: dict[str, float] = {}

    @contextmanager
    def on(self, step: str, records: int) -> Iterator[None]:
        """Measure the block, in which that many records go through that step."""
        start = time.process_time_ns()
        yield
        self.micros[step] = (time.process_time_ns() - start) / 1e3 / records


def measured(run: Callable[[Spent], None], rounds: int = ROUNDS) -> list[Mapping[str, float]]:
    """Each round's figures. One more round comes first and is thrown away: it pays for imports and cold caches."""
    out: list[Mapping[str, float]] = []
    for _ in range(rounds + 1):
        gc.collect()  # what one round leaves is not to be collected within the next
        spent = Spent()
        run(spent)
        out.append(spent.micros)
    return out[1:]


def shown(title: str, lines: Sequence[Line], rounds: Sequence[Mapping[str, float]]) -> None:
    """Print the table as markdown: medians (least..most), and the median of each round's ratio."""
    print(f"\n{title}, median of {len(rounds)} rounds (least..most)\n")
    print("| step | µs a record | target | beside it | its µs | ratio |\n|---|---|---|---|---|---|")
    for line in lines:
        values = [each[line.step] for each in rounds]
        target = "-"
        if line.target is not None:
            met = "" if statistics.median(values) <= line.target else ", missed"
            target = f"≤ {line.target:g}{met}"
        beside = ["-", "-", "-"]
        if line.beside is not None:
            others = [each[line.beside] for each in rounds]
            ratio = statistics.median(value / other for value, other in zip(values, others, strict=True))
            beside = [line.beside, spread(others), f"{ratio:.2f}"]
        print("|", " | ".join((line.step, spread(values), target, *beside)), "|")
