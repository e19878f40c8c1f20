"""Results as markdown: medians (least..most) over the rounds, ratios within each round, and what was to be reached."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.workloads import AGENT, Target, Workload

RESULTS = Path(__file__).resolve().parent / "results"

Row = Mapping[str, Any]  # a line of results/NAME.jsonl


class Column(NamedTuple):
    """One figure of a run."""

    title: str
    field: str
    scale: float = 1.0


COLUMNS = (
    Column("CPU µs / record", "cpu_us"),
    Column("broker's", "broker_us"),
    Column("% of a core", "core_percent"),
    Column("p50 ms", "p50_ms"),
    Column("p99 ms", "p99_ms"),
    Column("commits", "commits"),
    Column("fsyncs", "fsyncs"),
    Column("MB written", "written", 1e-6),
    Column("peak RSS MiB", "rss_mib"),
    Column("lost", "lost"),
    Column("twice", "duplicates"),
)
_TITLES = {column.field: column.title for column in COLUMNS} | {"rss_growth_mib": "RSS growth MiB"}


def add(row: Row) -> None:
    """Keep a row."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{row['workload']}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def kept(name: str) -> list[Row]:
    """The rows of a workload's last sitting, and of the last one that counted under strace."""
    path = RESULTS / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        row
        for kind in (False, True)
        for of_kind in [[row for row in rows if row.get("strace", False) == kind]]
        for row in of_kind
        if row["sitting"] == of_kind[-1]["sitting"]
    ]


def markdown(workload: Workload, rows: Sequence[Row]) -> str:
    """The workload's table, its targets, and who did not run."""
    good = [row for row in rows if "error" not in row]
    rounds = {row["round"] for row in good if not row["strace"]}
    lines = [
        f"### {workload.name}: {workload.about}",
        "",
        f"Median (least..most) of {len(rounds)} round{'s' if len(rounds) != 1 else ''}.",
        "",
        "| | " + " | ".join(column.title for column in COLUMNS) + " | CPU: telemetry-agent's of it |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for name in dict.fromkeys(row["subject"] for row in good):
        own = [row for row in good if row["subject"] == name]
        cells = [spread([value * column.scale for value in values(own, column.field)]) for column in COLUMNS]
        ratio = "" if name == AGENT.name else spread(ratios(good, "cpu_us", AGENT.name, name))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio} |")
    lines.append("")
    lines += [f"- {judged(target, good)}" for target in workload.targets]
    # Once each: what is not installed is missing in every round.
    failed = dict.fromkeys(f"- {row['subject']}: {row['error']}" for row in rows if "error" in row)
    return "\n".join([*lines, *failed, ""])


def values(rows: Iterable[Row], field: str) -> list[float]:
    """A field's values, where there are any: fsyncs of the runs under strace, all else of the others."""
    traced = field == "fsyncs"
    return [row[field] for row in rows if row["strace"] is traced and row[field] is not None]


def ratios(rows: Sequence[Row], field: str, ours: str, theirs: str) -> list[float]:
    """Ours by theirs, for each round that has both."""
    by = {(row["round"], row["subject"]): row[field] for row in rows if not row["strace"]}
    rounds = sorted({number for number, _ in by})
    return [
        by[number, ours] / by[number, theirs] for number in rounds if (number, ours) in by and by.get((number, theirs))
    ]


def judged(target: Target, rows: Sequence[Row]) -> str:
    """The target, and whether the median reaches it. Of losses none is forgiven: there the worst round counts."""
    if target.against:
        found = ratios(rows, target.field, AGENT.name, target.against)
        what = f"{_TITLES[target.field]}, of that of {target.against}"
    else:
        found = values((row for row in rows if row["subject"] == AGENT.name), target.field)
        what = _TITLES[target.field]
    if not found:
        return f"{what}: target ≤ {target.limit:g}, not measured"
    value = max(found) if target.limit == 0 else statistics.median(found)
    said = "reached" if value <= target.limit else "**not reached**"
    return f"{what}: target ≤ {target.limit:g}, {said}: {number(value)}"


def spread(listed: Sequence[float]) -> str:
    """The median, and the least and most where they differ."""
    if not listed:
        return "-"
    least, middle, most = (number(value) for value in (min(listed), statistics.median(listed), max(listed)))
    return middle if least == most else f"{middle} ({least}..{most})"


def number(value: float) -> str:
    """Three digits that count, and no exponents."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
