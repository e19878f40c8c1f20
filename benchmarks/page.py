"""
docs/performance/figures.md out of what is kept in benchmarks/results: every table, and the curves as pictures.

    python -m benchmarks.page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks import backlog, curves, profiles, starting, table
from benchmarks.programs import ROOT
from benchmarks.workloads import WORKLOADS

PAGE = ROOT / "docs" / "performance" / "figures.md"

HEAD = """# Figures

Made by `python -m benchmarks.page` out of benchmarks/results, by hand nothing. What they mean, and how they were taken:
[performance.md](../performance.md). Fsyncs are counted in a round of their own under strace; where there was none they
are not known.
"""


def made() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for name, workload in WORKLOADS.items():
        if rows := table.kept(name):
            yield table.markdown(workload, rows)
    if rows := table.kept("starting"):
        yield "### Starting, and idle\n"
        yield starting.markdown(rows[-1])
    if rows := table.kept("backlog"):
        yield "### A backlog\n"
        yield backlog.markdown(backlog.Outcome.kept(rows[-1]))
    for curve in curves.CURVES.values():
        if curves.kept(curve):
            yield f"### By {curve.along}\n\n![]({curve.name}.svg)\n"
            yield curves.markdown(curve)
    if kept := {path.stem: profiles.stages(path) for path in sorted(profiles.FOLDER.glob("*.txt"))}:
        yield "### Where the time goes\n\nµs of CPU a record, out of one profile of each (benchmarks/profiles).\n"
        yield "\n".join(_by_stage(kept)) + "\n"


def _by_stage(kept: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield "| | " + " | ".join(kept) + " |"
    yield "|---" * (len(kept) + 1) + "|"
    for stage in (*(name for name, _ in profiles.STAGES), profiles.ELSE):
        yield f"| {stage} | " + " | ".join(f"{found[stage]:.2f}" for found in kept.values()) + " |"
    yield "| **all** | " + " | ".join(f"**{sum(found.values()):.2f}**" for found in kept.values()) + " |"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(made())
    print(PAGE)


if __name__ == "__main__":
    main()
