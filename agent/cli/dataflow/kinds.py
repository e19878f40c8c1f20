"""Jobs, workflows and triggers: each by its id, or by its name where only one has it; and how one is deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from agent.cli import state as states
from agent.cli.dataflow.account import ask
from agent.errors import DeliveryError
from agent.ncloud.account import Account
from agent.ncloud.data_flow import DataFlow
from agent.service.exits import Exit

UNKNOWN = {400, 404}  # what Data Flow says to an id that it does not have, or that cannot be one
DELETED = "DELETED"  # a job's status: still listed, under a name that may have been given anew

Yes = Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing that has an id and a name."""

    noun: str
    key: str  # of its id
    get: Callable[[DataFlow, str], Awaitable[Any]]
    named: Callable[[DataFlow, str], Awaitable[list[Any]]]  # at least those of that name
    remove: Callable[[DataFlow, str], Awaitable[Any]]

    @property
    def doubt(self) -> str:
        """What to say where one may have been made although nobody said so."""
        return f"it may have been created all the same: `dataflow {self.noun}s list` shows that"

    async def find(self, flow: DataFlow, asked: str) -> dict[str, Any]:
        """All of the one that is meant. The command ends where there is none, or more than one."""
        try:
            return await self._whole(flow, asked)
        except DeliveryError as error:
            if error.status not in UNKNOWN:
                raise
        ids = [
            str(item[self.key])
            for item in await self.named(flow, asked)
            if item.get("name") == asked and item.get("status") != DELETED
        ]
        if len(ids) > 1:
            text = f"{asked} is the name of several {self.noun}s: give the id, one of {', '.join(ids)}"
            states.fail(states.printable(text), Exit.USAGE)
        if not ids:
            text = f"no {self.noun} has the id or the name {asked}: `dataflow {self.noun}s list` shows those there are"
            states.fail(states.printable(text), Exit.REFUSED)
        return await self._whole(flow, ids[0])

    async def id(self, flow: DataFlow, asked: str) -> str:
        """The id of the one that is meant."""
        return str((await self.find(flow, asked))[self.key])

    async def _whole(self, flow: DataFlow, id: str) -> dict[str, Any]:
        # The id that it was found by counts, whatever else the answer holds.
        return {**await self.get(flow, id), self.key: id}


JOB = Kind(
    "job",
    "jobId",
    lambda flow, its: flow.job(its),
    lambda flow, name: flow.jobs(name=name),
    lambda flow, its: flow.delete_job(its),
)
WORKFLOW = Kind(
    "workflow",
    "workflowId",
    lambda flow, its: flow.workflow(its),
    lambda flow, _: flow.workflows(),
    lambda flow, its: flow.delete_workflow(its),
)
TRIGGER = Kind(
    "trigger",
    "triggerId",
    lambda flow, its: flow.trigger(its),
    lambda flow, name: flow.triggers(name=name),
    lambda flow, its: flow.delete_trigger(its),
)


def delete(kind: Kind, asked: str, of: Account, *, yes: bool, as_json: bool) -> None:
    """Delete one and say which; without `yes` only say which it would be, and end the command."""

    async def work(flow: DataFlow) -> dict[str, Any]:
        found = await kind.find(flow, asked)
        if yes:
            await kind.remove(flow, found[kind.key])
        return found

    found = ask(of, work)
    which = states.printable(f"the {kind.noun} {found.get('name', '')} ({found[kind.key]})")
    if not yes:
        states.fail(f"this deletes {which} for good: add --yes if that is meant", Exit.USAGE)
    if as_json:
        states.print_json({kind.key: found[kind.key], "name": found.get("name"), "deleted": True})
    else:
        print(f"deleted {which}")
