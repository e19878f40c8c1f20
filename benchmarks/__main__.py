"""
`python -m benchmarks [NAME ...]`: measure this agent, beside its peers where there are any.

In each round everything that a table compares runs once, one after the other on the same machine, in turned order in
every other round: absolute figures differ from sitting to sitting by a factor of two, ratios within a round do not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import table
from benchmarks.programs import ROOT, Failed, Missing, module
from benchmarks.runs import Result, run
from benchmarks.subjects import PEERS
from benchmarks.workloads import WORKLOADS, Contestant, Workload

# What else is measured: what about, and the modules that do it, each in a process of its own, so that what one
# has used is not in the other's figures.
OTHERS: Mapping[str, tuple[str, Sequence[str]]] = {
    "micro": (
        "spool, codec and record building, each beside something that does the least",
        ("benchmarks.micro.spool", "benchmarks.micro.codec", "benchmarks.micro.record"),
    ),
    "starting": ("start to the first record stored, and CPU while idle", ("benchmarks.starting",)),
    "backlog": ("draining a backlog of 10 GB, and a fresh record beside it", ("benchmarks.backlog",)),
    "curves": (
        "cost by rate, payload size, topics, sinks and backlog, with plots",
        ("benchmarks.curves", "benchmarks.plots"),
    ),
    "profiles": ("a profile of each workload as text", ("benchmarks.profiles",)),
}
GROUPS: Mapping[str, Sequence[str]] = {"rss": ("rss-w2", "rss-w4")}

console = Console(soft_wrap=True, highlight=False, markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; without any everything")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", default=",".join(peer.name for peer in PEERS), help="peers, by comma; none: ''")
    parser.add_argument("--no-strace", action="store_true", help="leave out the last round, which only counts fsyncs")
    parser.add_argument("--table", action="store_true", help="measure nothing: the tables of each last sitting")
    parser.add_argument("--list", action="store_true", help="what there is to measure")
    options = parser.parse_args()
    if options.list:
        for name, about in _listed().items():
            console.print(f"{name:16}{about}")
        return
    against = [name for name in options.against.split(",") if name]
    if strangers := set(against) - {peer.name for peer in PEERS}:
        parser.error(f"--against: expected of {[peer.name for peer in PEERS]}, got {sorted(strangers)}")
    names = [one for name in options.names for one in GROUPS.get(name, (name,))] or _all()
    if unknown := [name for name in names if name not in _listed()]:
        parser.error(f"expected names of `--list`, got {unknown}")
    failed = False
    for name in names:
        if workload := WORKLOADS.get(name):
            if not options.table:
                failed |= not measure(workload, options.rounds, against, strace=not options.no_strace)
            console.print(table.markdown(workload, table.kept(name)))
        elif not options.table:
            ended = [_runs_well(each) for each in OTHERS[name][1]]  # each of them, whatever becomes of another
            failed |= not all(ended)
    sys.exit(1 if failed else 0)


def measure(workload: Workload, rounds: int, against: Sequence[str], *, strace: bool) -> bool:
    """Run the rounds, and one under strace; keep every result. Whether all ran that are installed here."""
    sitting = time.strftime("%Y-%m-%dT%H:%M:%S")
    contestants = workload.contestants(against)
    turns = [(number, False) for number in range(1, rounds + 1)] + ([(rounds + 1, True)] if strace else [])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    well = True
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(workload.name, total=len(turns) * len(contestants))
        for number, traced in turns:
            for contestant in contestants if number % 2 else reversed(contestants):
                progress.update(task, description=f"{workload.name}, {contestant.subject.name}")
                row = {"workload": workload.name, "sitting": sitting, "round": number, "strace": traced}
                row["subject"] = contestant.subject.name
                try:
                    row |= asdict(_run(workload, contestant, traced))
                except Missing as missing:
                    row["error"] = str(missing)
                except Failed as failure:
                    row["error"], well = str(failure), False
                table.add(row)
                progress.advance(task)
    return well


def _run(workload: Workload, contestant: Contestant, traced: bool) -> Result:
    return run(contestant.subject, contestant.load, outage=workload.outage, clouds=workload.clouds, strace=traced)


def _runs_well(module_name: str) -> bool:
    return subprocess.run(module(module_name), cwd=ROOT, check=False).returncode == 0


def _listed() -> dict[str, str]:
    """Every name there is, and what it is about."""
    groups = {name: " and ".join(names) for name, names in GROUPS.items()}
    others = {name: about for name, (about, _) in OTHERS.items()}
    return {name: each.about for name, each in WORKLOADS.items()} | groups | others


def _all() -> list[str]:
    return [name for name, each in WORKLOADS.items() if not each.only_when_named] + list(OTHERS)


if __name__ == "__main__":
    main()
