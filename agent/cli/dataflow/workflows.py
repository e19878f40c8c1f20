"""`dataflow workflows`: look at workflows and their executions, make and change them, run them."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import state as states
from agent.cli.dataflow import tables
from agent.cli.dataflow.account import account, ask
from agent.cli.dataflow.files import Body, checked
from agent.cli.dataflow.kinds import WORKFLOW, Yes
from agent.cli.dataflow.kinds import delete as delete_one
from agent.cli.dataflow.running import Every, Run, Timeout, Wait, following
from agent.ncloud.data_flow import DataFlow

app = typer.Typer(no_args_is_help=True, help="Workflows: look at them, make and change them, run them.")

Workflow = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its id, or its name where no other has it.")]


@app.command("list")
def show_all(config: states.Config = None, as_json: states.AsJson = False) -> None:
    """List workflows."""
    found = ask(account(config), lambda flow: flow.workflows())
    rows = [
        (
            tables.text(one, "workflowId"),
            tables.text(one, "name"),
            tables.text(one, "triggerRuleType"),
            len(tables.rows(one, "nodes")),
            tables.local(one, "updatedDate"),
            tables.local(one, "lastExecutionDate"),
        )
        for one in found
    ]
    tables.print_list(found, ("id", "name", "trigger", "nodes", "updated", "last run"), rows, as_json=as_json)


@app.command("show")
def show_one(workflow: Workflow, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Show all of a workflow."""
    tables.print_one(ask(account(config), lambda flow: WORKFLOW.find(flow, workflow)), as_json=as_json)


@app.command()
def create(file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Create a workflow as a file has it, and print its id."""
    of = account(config)
    body = checked(file, "create_workflow", of.api)
    made = ask(of, lambda flow: flow.create_workflow(body), doubt=WORKFLOW.doubt)
    tables.print_made(made, WORKFLOW.key, as_json=as_json)


@app.command()
def update(workflow: Workflow, file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Put what a file has in the place of a workflow."""
    of = account(config)
    body = checked(file, "update_workflow", of.api)

    async def work(flow: DataFlow) -> tables.Row:
        changed: tables.Row = await flow.update_workflow(await WORKFLOW.id(flow, workflow), body)
        return changed

    tables.print_one(ask(of, work), as_json=as_json)


@app.command()
def delete(workflow: Workflow, yes: Yes = False, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Delete a workflow for good."""
    delete_one(WORKFLOW, workflow, account(config), yes=yes, as_json=as_json)


@app.command()
def executions(
    workflow: Workflow,
    filter: Annotated[str | None, typer.Option(help="Those that Data Flow finds by this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """List what ran of a workflow: the executions of its jobs."""

    async def work(flow: DataFlow) -> list[tables.Row]:
        return list(await flow.workflow_executions(await WORKFLOW.id(flow, workflow), filter, limit))

    tables.print_executions(ask(account(config), work), as_json=as_json)


@app.command()
def run(
    workflow: Workflow,
    wait: Wait = False,
    timeout: Timeout = None,
    every: Every = "5s",
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Run a workflow and print the id of its first execution; with --wait, follow all of it to its end.

    Its trigger must be one that is pulled by hand, or by an event. It is started once, whatever becomes of the answer.
    Exit codes with --wait: 0 COMPLETED, 79 FAILED, 80 CANCELED.
    """
    follow = following(wait=wait, timeout=timeout, every=every)
    Run(kind=WORKFLOW, asked=workflow, config=config).carry_out(account(config), follow, as_json=as_json)
