"""
How the cost of a record grows: with rate, payload size, topics, sinks, and the backlog it is drained from.

    python -m benchmarks.curves [NAME ...] [--rounds 3]

Each point is one short run of its own, in each round in another order. `benchmarks.plots` draws what is kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.progress import Progress

from benchmarks import backlog, table
from benchmarks.load import Load
from benchmarks.programs import BUILD, Failed, Missing
from benchmarks.runs import run
from benchmarks.workloads import AGENT

SECONDS = 10  # of a paced point
MOST_BYTES = 100_000_000  # of payloads in one point: what takes longer is no short run


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run: CPU of a delivered record, how late the slowest hundredth came, and memory."""

    cpu_us: float
    core_percent: float | None
    p50_ms: float
    p99_ms: float
    rss_mib: float
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A series of points along one quantity."""

    name: str
    along: str  # what the quantity is, for an axis
    at: Sequence[float]
    measure: Callable[[float], Point]


def _loaded(load: Load, sinks: int = 1) -> Point:
    found = run(AGENT, load, sinks=sinks)
    return Point(
        cpu_us=found.cpu_us,
        core_percent=found.core_percent,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        rss_mib=found.rss_mib,
        lost=found.lost,
    )


def _drained(gigabytes: float) -> Point:
    # Ten seconds more than it takes to drain 1 GB on a slow day: the latencies are of records that meet the backlog.
    found = backlog.measure(gigabytes, backlog.LEAST_SECONDS + 10 * gigabytes, BUILD, lambda text: None)
    return Point(
        cpu_us=found.cpu_micros,
        core_percent=None,
        p50_ms=found.fresh_median_s * 1000,
        p99_ms=found.fresh_most_s * 1000,
        rss_mib=found.peak_rss / backlog.MIB,
        lost=backlog.FRESH.count - found.fresh,
    )


_ALL = (
    Curve(
        name="rate",
        along="messages a second, QoS 1",
        at=(100, 300, 1000, 3000, 10_000, 20_000),
        measure=lambda rate: _loaded(Load(count=int(rate * SECONDS), qos=1, rate=rate, window=10_000)),
    ),
    Curve(
        name="size",
        along="bytes of payload, QoS 1, as fast as they go",
        at=(50, 200, 1000, 4000, 16_000, 64_000),
        measure=lambda size: _loaded(Load(count=min(50_000, int(MOST_BYTES / size)), qos=1, size=int(size))),
    ),
    Curve(
        name="topics",
        along="topics, QoS 1, as fast as they go",
        at=(10, 100, 1000, 10_000, 100_000),
        # Twice as many as the most topics: each is met anew once and known again once at least.
        measure=lambda topics: _loaded(Load(count=200_000, qos=1, topics=int(topics))),
    ),
    Curve(
        name="sinks",
        along="sinks that each get every record, QoS 1, as fast as they go",
        at=(1, 2, 3, 5, 7, 10),
        measure=lambda sinks: _loaded(Load(count=50_000, qos=1), sinks=int(sinks)),
    ),
    Curve(
        name="backlog",
        along="GB of backlog that is drained",
        at=(0.05, 0.1, 0.2, 0.5, 1.0),
        measure=_drained,
    ),
)

CURVES: Mapping[str, Curve] = {each.name: each for each in _ALL}


def workload(curve: Curve) -> str:
    """The name under which its rows are kept."""
    return f"curve-{curve.name}"


def measured(curves: Sequence[Curve], rounds: int, console: Console) -> bool:
    """Run every point so many times, and keep each; whether all came to something. Raises Missing."""
    well = True
    sitting = time.strftime("%Y-%m-%dT%H:%M:%S")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("curves", total=rounds * sum(len(curve.at) for curve in curves))
        for number in range(1, rounds + 1):
            points = [(curve, at) for curve in curves for at in curve.at]
            random.shuffle(points)
            for curve, at in points:
                progress.update(task, description=f"{curve.name} {at:g}")
                row = {"workload": workload(curve), "sitting": sitting, "round": number, "at": at}
                try:
                    table.add(row | asdict(curve.measure(at)))
                except Failed as failure:
                    table.add(row | {"error": str(failure)})
                    well = False
                progress.advance(task)
    return well


def kept(curve: Curve) -> list[table.Row]:
    """The points of its last sitting that came to something."""
    return [row for row in table.kept(workload(curve)) if "error" not in row]


def markdown(curve: Curve) -> str:
    """Its last sitting as a table, and what came to nothing."""
    rows = kept(curve)
    lines = [
        f"| {curve.along} | CPU µs / record | p50 ms | p99 ms | peak RSS MiB | lost |",
        "|---|---|---|---|---|---|",
    ]
    for at in sorted({row["at"] for row in rows}):
        own = [row for row in rows if row["at"] == at]
        fields = ("cpu_us", "p50_ms", "p99_ms", "rss_mib", "lost")
        lines.append(f"| {at:,g} | " + " | ".join(table.spread([row[name] for row in own]) for name in fields) + " |")
    lines += [f"- {row['at']:g}: {row['error']}" for row in table.kept(workload(curve)) if "error" in row]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__.partition("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CURVES)}; without any all")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in CURVES]:
        parser.error(f"expected names of {list(CURVES)}, got {unknown}")
    curves = [CURVES[name] for name in options.names or CURVES]
    try:
        well = measured(curves, options.rounds, Console(stderr=True))
    except Missing as missing:
        sys.exit(f"curves: {missing}")
    for curve in curves:
        print(markdown(curve))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
