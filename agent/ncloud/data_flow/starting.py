"""
Start a job or a workflow once, and find what was started.

    before ─▸ started ─▸ an execution's id
                 └─ the answer is lost, or names none ─▸ found: which execution was not there before?

Nothing here starts a second time. What was there before can be kept on disk, so that whoever was killed in the middle
asks `found` and knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

from agent.errors import DeliveryError, Problem, Retryable
from agent.ncloud.asking import Say, Unreadable, quiet
from agent.ncloud.data_flow.client import DataFlow
from agent.ncloud.data_flow.dates import epoch_ms
from agent.ncloud.data_flow.paging import Item
from agent.ncloud.data_flow.refusals import is_doubtful, may_pass
from agent.ncloud.data_flow.shapes import BadBody
from agent.units import format_duration

Kind = Literal["job", "workflow"]

# An execution that was made longer ago is none that was just started: that bounds what is remembered and read. A day
# of it, because a date without a zone is taken for Korea's, and the documents do not say that it is.
DAY_MS = 24 * 3600 * 1000
APPEARS = 60.0  # seconds after which an execution that was started is in the list
PATIENCE = 600.0  # seconds for the list to be readable again
LOOKS = 1.0  # seconds between two looks at it
_PAGE = 200


class Unconfirmed(Retryable):
    """Whether, or what, was started is not known, and no execution of it has shown up. Nothing was started again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, ambiguous=True)


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before a start. `executions`: ids that are no proof of it; `at_ms`: by the far side's clock."""

    target: str  # "job:<id>" or "workflow:<id>"
    executions: tuple[str, ...]
    at_ms: int

    @property
    def kind(self) -> Kind:
        """What is started."""
        return "workflow" if self.target.startswith("workflow:") else "job"

    @property
    def id(self) -> str:
        """Which one."""
        return self.target.partition(":")[2]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"target": self.target, "executions": list(self.executions), "at_ms": self.at_ms}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Out of what `to_dict` gave. Raises ValueError for anything else."""
        match dict(value):
            case {"target": str(goal), "executions": [*executions], "at_ms": int(at_ms)} if (
                goal.startswith(("job:", "workflow:"))
                and goal.partition(":")[2]
                and all(isinstance(each, str) for each in executions)
            ):
                return cls(goal, tuple(executions), at_ms)
        raise ValueError(f"expected target, executions and at_ms, found {value!r}")


async def before(flow: DataFlow, kind: Kind, id: str) -> Before:
    """What there is of a job or a workflow before it is started. Raises Refused where there is none of that id."""
    while True:
        since = flow.now_ms() - 2 * DAY_MS
        known = [execution_id(item) for item in await _recent(flow, kind, id, since)]
        now = flow.now_ms()
        if since <= now - DAY_MS:
            return Before(f"{kind}:{id}", tuple(known), now)
        # The answers have shown that this clock is days ahead: what was left out as too old is not.


async def started(
    flow: DataFlow,
    before: Before,
    body: Mapping[str, Any] | None = None,
    *,
    say: Say = quiet,
    appears: float = APPEARS,
    patience: float = PATIENCE,
    looks: float = LOOKS,
) -> str:
    """
    Start it and give the execution's id; of a workflow, that of the first execution that it brings.

    Where the answer is lost, in doubt or without an id, the execution that was not there before is looked for: for
    `appears` seconds, or as long as the list cannot be read up to `patience`. Raises what refused the start, and
    Unconfirmed where none showed up.
    """
    if before.kind == "workflow" and body is not None:
        raise BadBody([Problem("the body", "executeWorkflow takes none: leave it out")])
    lost: DeliveryError | None = None
    try:
        answer = await (flow.run_job(before.id, body) if before.kind == "job" else flow.run_workflow(before.id))
    except DeliveryError as failure:
        if not is_doubtful(failure):
            raise
        lost = failure
        say(f"{failure.reason}: whether {before.target} was started is not known, looks for its execution")
    else:
        if before.kind == "job" and isinstance(answer, dict) and (named := _id_of(answer)):
            return named
        say(f"{before.target} was accepted, looks for its execution")
    execution, trouble = await _appeared(flow, before, say, appears, patience, looks)
    if execution is not None:
        return execution_id(execution)
    start = "was accepted" if lost is None else f"was asked for and the answer lost ({lost.reason})"
    seen = (
        f"the list of executions cannot be read ({trouble.reason})"
        if trouble is not None
        else f"no new execution has shown up within {format_duration(appears)}"
    )
    raise Unconfirmed(
        f"{before.target}: a start {start}, and {seen}; nothing was started again: look whether it runs, then start it"
    ) from lost


async def found(flow: DataFlow, before: Before) -> Item | None:
    """
    The execution that a start after `before` brought, None where there is none yet.

    Of several it is the earliest one that neither a trigger nor a workflow began, if a job was started. Dates count
    seconds: of those of one second the list's order decides, where it shows one.
    """
    return next(iter(await newer(flow, before)), None)


async def newer(flow: DataFlow, before: Before) -> list[Item]:
    """All executions that were not there before, those first that a start would bring."""

    def rank(item: Item) -> tuple[bool, int]:
        made = _made_ms(item)
        return by_others(before, item), before.at_ms if made is None else made

    known = set(before.executions)
    recent = await _recent(flow, before.kind, before.id, before.at_ms - DAY_MS)
    if _falls(recent):
        recent.reverse()  # dates count seconds: of those of one second the order of the list decides
    return sorted((item for item in recent if execution_id(item) not in known), key=rank)


def execution_id(item: Mapping[str, Any]) -> str:
    """An execution's id. Raises Unreadable where it has none."""
    if named := _id_of(item):
        return named
    raise Unreadable(f"expected an execution with its jobExecutionId, found {sorted(item)[:8]}")


def by_others(before: Before, item: Item) -> bool:
    """Whether a trigger or a workflow seems to have begun it: the documents do not say what ours leaves out."""
    return before.kind == "job" and (bool(item.get("triggerId")) or item.get("type") == "WORKFLOW")


def _id_of(item: Mapping[str, Any]) -> str:
    named = item.get("jobExecutionId")
    return str(named) if isinstance(named, str | int) and not isinstance(named, bool) else ""


async def _appeared(
    flow: DataFlow, before: Before, say: Say, appears: float, patience: float, looks: float
) -> tuple[Item | None, DeliveryError | None]:
    """The execution, or why there is none to see: the last trouble, or None where the list was read and had none."""
    clock = asyncio.get_running_loop().time
    began, trouble = clock(), None
    while True:
        asked = clock() - began
        try:
            execution = await found(flow, before)
        except DeliveryError as failure:
            if not may_pass(failure):
                raise
            if asked >= patience:
                return None, failure
            if trouble is None:
                say(f"{failure.reason}: goes on looking")
            trouble = failure
        else:
            # One that others seem to have begun is taken last: ours may not be listed yet.
            if asked >= appears or (execution is not None and not by_others(before, execution)):
                return execution, None
            trouble = None
        await asyncio.sleep(looks)


async def _recent(flow: DataFlow, kind: Kind, id: str, since_ms: int) -> list[Item]:
    """
    The executions made since then, and those that do not say when.

    The order of the list is not documented: only one that is seen to run from new to old is not read to its end.
    """
    items: list[Item] = []
    async with aclosing(flow.execution_pages(kind, id, size=_PAGE)) as pages:
        async for page in pages:
            for item in page:
                made = _made_ms(item)
                if made is None or made >= since_ms:
                    items.append(item)
            last = _made_ms(page[-1])
            if _falls(page) and last is not None and last < since_ms:
                break
    return items


def _falls(items: Sequence[Item]) -> bool:
    """Whether a list is seen to run from new to old."""
    times = [made for item in items if (made := _made_ms(item)) is not None]
    return all(later <= earlier for earlier, later in pairwise(times)) and bool(times) and times[0] > times[-1]


def _made_ms(item: Mapping[str, Any]) -> int | None:
    for name in ("createdDate", "startDate"):
        try:
            return epoch_ms(item[name])
        except (KeyError, ValueError):
            continue
    return None
