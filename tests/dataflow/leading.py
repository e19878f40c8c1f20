"""A leader's rules beside a stand-in for Data Flow, with a sink that they watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from far_side import record, run_of

from agent.dataflow.book import Book
from agent.dataflow.rule import Rule
from agent.dataflow.runner import Rules
from agent.ncloud.account import Account
from agent.ports import Parcel
from agent.sandbox.ncloud import Key, Sandbox
from agent.schema import Secret
from agent.sinks.file import File
from agent.stats import Stats

JOB, SINK, RULE = "J1", "bucket", "etl"
START = f"POST /api/v1/jobs/{JOB}/executions"  # what faults know the start by


class Hasty(Random):
    """No pause between tries."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


def rule(**options: Any) -> Rule:
    """A rule that runs the job after three objects, and does not wait long for anything."""
    when = {} if {"every", "at", "after_objects"} & options.keys() else {"after_objects": 3}
    target = {} if "workflow" in options else {"job": JOB}
    return Rule(**{"name": RULE, "sink": SINK, "poll": 0.01, "settle": 0.2, **when, **target, **options})


@dataclass
class Site:
    """The far side, and a state directory."""

    far: Sandbox
    folder: Path

    @property
    def runs(self) -> int:
        """How often the job ran."""
        return len(self.far.flow.executions(JOB))

    @asynccontextmanager
    async def leader(self, *rules: Rule, works: bool = True) -> AsyncIterator[Leader]:
        """A life of the leader; it is cut off at the end as a stop would. Without `works` it only notes."""
        account = Account(url=self.far.url, access_key=Secret("AK"), secret_key=Secret("SK"))
        stats = Stats()
        opened = await Rules.open(rules or (rule(),), account, self.folder, stats=stats, rng=Hasty())
        sink = opened.watched(SINK, File(path=self.folder / "objects.ndjson"))
        task = asyncio.create_task(opened.run() if works else asyncio.sleep(3600))
        try:
            async with sink.open() as send:
                yield Leader(opened, stats, task, lambda name: send(_parcel(name)))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def book(self) -> Book:
        """What stands on the disk."""
        return await Book.open(self.folder)


@dataclass
class Leader:
    """The rules of one life."""

    rules: Rules
    stats: Stats
    task: asyncio.Task[None]
    send: Callable[[str], Any]

    async def store(self, *names: object) -> None:
        """Objects of these names are stored and noted."""
        for name in names:
            await self.send(str(name))

    def shown(self, name: str = RULE) -> Any:
        """What the status pages have of the rule."""
        return self.rules.shown()[name]

    async def ended(self, *outcomes: str) -> None:
        """Return when so many runs of the rule have ended in this life, and so."""

        def have() -> bool:
            counts = [each for each in self.stats.samples() if each.name == "agent_dataflow_runs_total"]
            mine = {each.labels["outcome"]: each.value for each in counts if each.labels["rule"] == RULE}
            return mine == {outcome.lower(): outcomes.count(outcome) for outcome in outcomes}

        await until(have, f"runs that end {outcomes}")


def _parcel(name: str) -> Parcel:
    return Parcel(name, run_of([record()]).body, 1)


async def until(condition: Callable[[], Any], what: str) -> None:
    """Ask again and again until the answer is true."""
    try:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


@asynccontextmanager
async def site(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """A far side with the job, whose executions end at once unless told."""
    given = {"executions_wait": 0.0, "executions_take": 0.0, **settings}
    async with Sandbox.open(keys=[Key("AK", "SK")], **given) as far:
        far.flow.add_job(JOB)
        yield Site(far, folder)
