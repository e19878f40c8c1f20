"""What there is to see of the rules: on the status pages, and as numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from agent.dataflow.due import day_of
from agent.dataflow.kept import Ended, Outcome
from agent.stats import Stats

if TYPE_CHECKING:
    from agent.dataflow.turns import Turns


class LastRun(TypedDict):
    """The last run of a rule that has ended. Times are epoch seconds."""

    execution: str
    outcome: Outcome
    objects: int
    began: float
    ended: float


class Shown(TypedDict):
    """What there is to see of a rule."""

    sink: str
    target: str  # "job:ID", "workflow:ID"
    state: str
    reason: str  # why it cannot go on; "": it can
    execution: str  # of the run under way
    waiting: int  # objects
    runs_today: int
    max_runs_per_day: int
    last: LastRun | None


def shown(turns: Turns) -> Shown:
    """A rule as it is now."""
    rule, kept = turns.rule, turns.kept
    last = kept.last
    return Shown(
        sink=rule.sink,
        target=rule.target,
        state=turns.phase,
        reason=turns.trouble,
        execution="" if kept.intent is None else kept.intent.execution,
        waiting=kept.waiting,
        runs_today=kept.runs_on(day_of(time.time())),
        max_runs_per_day=rule.max_runs_per_day,
        last=None if last is None else _last(last),
    )


def _last(last: Ended) -> LastRun:
    return LastRun(
        execution=last.execution,
        outcome=last.outcome,
        objects=last.objects,
        began=last.began / 1000,
        ended=last.ended / 1000,
    )


def count(stats: Stats, rule: str, outcome: Outcome) -> None:
    """A run has ended."""
    name, meaning = "agent_dataflow_runs_total", "Runs of Data Flow rules by how they ended."
    stats.counter(name, meaning, rule=rule, outcome=outcome.lower()).add()


def show(stats: Stats, rule: str, turns: Turns) -> None:
    """Have its numbers on the pages from now on."""

    def gauge(name: str, help: str, read: Callable[[], float]) -> None:
        stats.gauge(f"agent_dataflow_{name}", help, read, rule=rule)

    def last_ended() -> float:
        return 0.0 if turns.kept.last is None else turns.kept.last.ended / 1000

    gauge("objects_waiting", "Objects stored since the rule's last run was begun.", lambda: turns.kept.waiting)
    gauge("runs_today", "Runs that the rule has begun today.", lambda: turns.kept.runs_on(day_of(time.time())))
    gauge("running", "Whether a run of the rule is under way.", lambda: int(turns.kept.intent is not None))
    gauge("last_run_ended_seconds", "When the rule's last run ended; 0: none has.", last_ended)
