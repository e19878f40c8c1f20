"""
Follow an execution to its end, for as long as it takes and whatever the network does meanwhile.

`starting` has what comes before: `before`, `started`, `found`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent.errors import DeliveryError, Throttled
from agent.ncloud.asking import Say, quiet
from agent.ncloud.data_flow.client import DataFlow
from agent.ncloud.data_flow.dates import epoch_ms
from agent.ncloud.data_flow.paging import Item
from agent.ncloud.data_flow.refusals import NOT_FOUND, Refused, may_pass
from agent.ncloud.data_flow.starting import (
    Before,
    Unconfirmed,
    before,
    execution_id,
    found,
    newer,
    started,
)
from agent.units import format_duration

__all__ = ["ENDED", "Before", "Unconfirmed", "before", "followed", "found", "started", "workflow_followed"]

T = TypeVar("T")

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELED"})  # getJobExecutionById
EVERY = 5.0  # seconds between two questions
GRACE = 30.0  # seconds in which an execution that was just started may not be found by its id yet
SETTLE = 300.0  # seconds in which the next job of a workflow begins


class _Asker:
    """Asks until there is an answer; `patience` bounds the time without one."""

    def __init__(self, every: float, say: Say, patience: float | None, grace: float) -> None:
        self.every = every
        self._grace = grace
        self._say = say
        self._patience = patience
        self._clock = asyncio.get_running_loop().time
        self._began = self._heard = self._clock()
        self._failing = False

    @property
    def age(self) -> float:
        """Seconds since the first question."""
        return self._clock() - self._began

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer. Raises what does not pass by itself, and what has not within `patience`."""
        while True:
            try:
                answer = await question()
            except DeliveryError as failure:
                fresh = isinstance(failure, Refused) and failure.kind == NOT_FOUND and self.age < self._grace
                if not fresh and not may_pass(failure):
                    raise
                if self._patience is not None and self._clock() - self._heard >= self._patience:
                    raise
                if not self._failing:
                    self._say(f"{failure.reason}: goes on asking")
                self._failing = True
                pause = failure.retry_after if isinstance(failure, Throttled) else 0.0
                await asyncio.sleep(max(self.every, pause))
            else:
                self._heard, self._failing = self._clock(), False
                return answer


async def followed(
    flow: DataFlow,
    job_id: str,
    execution_id: str,
    *,
    every: float = EVERY,
    say: Say = quiet,
    patience: float | None = None,
    grace: float = GRACE,
) -> Item:
    """
    The execution once it is COMPLETED, FAILED or CANCELED. `say` hears of each change of its status.

    It is asked for `every` so many seconds. Trouble on the way is outlasted: for ever, or for `patience` seconds
    without an answer. Raises Refused where there is no such execution even after `grace` seconds, AuthExpired where the
    keys are refused.
    """
    asker, status = _Asker(every, say, patience, grace), ""
    while True:
        item = await asker.ask(lambda: flow.job_execution(job_id, execution_id))
        if (now := str(item.get("status"))) != status:
            status = now
            say(f"execution {execution_id} of job {job_id}: {status}")
        if status in ENDED:
            return item
        await asyncio.sleep(every)


async def workflow_followed(
    flow: DataFlow,
    before: Before,
    *,
    every: float = EVERY,
    say: Say = quiet,
    patience: float | None = None,
    settle: float = SETTLE,
) -> Item:
    """
    The execution that decided how a workflow ended: one that FAILED or was CANCELED, else the last to be COMPLETED.

    A workflow's executions are those of its jobs, each listed when it begins (getWorkflowExecutions): it is over when
    every job of it was run, or one of them failed and none is running. The rest as `followed`. Raises Unconfirmed where
    the next job has not begun `settle` seconds after all before it have ended.
    """
    clock = asyncio.get_running_loop().time
    asker = _Asker(every, say, patience, grace=0.0)
    nodes = (await asker.ask(lambda: flow.workflow(before.id))).get("nodes") or ()
    wanted = [str(node.get("id")) for node in nodes if isinstance(node, dict) and node.get("type") == "JOB"]
    known: dict[str, str] = {}
    changed = clock()
    while True:
        runs: dict[str, Item] = {}  # by job; of several runs of the workflow, the earliest
        for item in await asker.ask(lambda: newer(flow, before)):
            runs.setdefault(str(item.get("jobId")), item)
        for job, item in runs.items():
            if (status := str(item.get("status"))) != known.get(job):
                known[job], changed = status, clock()
                say(f"execution {execution_id(item)} of job {job}: {status}")
        if runs and all(status in ENDED for status in known.values()):
            if failed := [item for item in runs.values() if item["status"] != "COMPLETED"]:
                return failed[0]
            if runs.keys() >= set(wanted):
                return runs[max(runs, key=lambda job: (_end(runs[job]), wanted.index(job) if job in wanted else -1))]
        if all(status in ENDED for status in known.values()) and clock() - changed >= settle:
            ran = f"{len(runs)} of {len(wanted)} jobs have run"
            raise Unconfirmed(f"{before.target}: {ran}, and none has begun for {format_duration(settle)}")
        await asyncio.sleep(every)


def _end(item: Item) -> int:
    try:
        return epoch_ms(item["endDate"])
    except (KeyError, ValueError):
        return 0
