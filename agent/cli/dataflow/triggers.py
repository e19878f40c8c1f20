"""`dataflow triggers`: what starts workflows by the clock. There is no call that changes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from agent.cli import state as states
from agent.cli.dataflow import tables
from agent.cli.dataflow.account import account, ask
from agent.cli.dataflow.files import Body, checked
from agent.cli.dataflow.kinds import TRIGGER, Yes
from agent.cli.dataflow.kinds import delete as delete_one

app = typer.Typer(no_args_is_help=True, help="What starts workflows by the clock.")

Trigger = Annotated[str, typer.Argument(metavar="TRIGGER", help="Its id, or its name where no other has it.")]


@app.command("list")
def show_all(
    name: Annotated[str | None, typer.Option(help="Those that Data Flow finds by this name.")] = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """List triggers."""
    found = ask(account(config), lambda flow: flow.triggers(name=name))
    rows = [
        (
            tables.text(one, "triggerId"),
            tables.text(one, "name"),
            tables.text(one, "type"),
            _when(one.get("triggerRule") or {}),
            tables.local(one, "updatedDate"),
        )
        for one in found
    ]
    tables.print_list(found, ("id", "name", "type", "when", "updated"), rows, as_json=as_json)


@app.command("show")
def show_one(trigger: Trigger, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Show all of a trigger."""
    tables.print_one(ask(account(config), lambda flow: TRIGGER.find(flow, trigger)), as_json=as_json)


@app.command()
def create(file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Create a trigger as a file has it, and print its id."""
    of = account(config)
    body = checked(file, "trigger", of.api)
    made = ask(of, lambda flow: flow.create_trigger(body), doubt=TRIGGER.doubt)
    tables.print_made(made, TRIGGER.key, as_json=as_json)


@app.command()
def delete(trigger: Trigger, yes: Yes = False, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Delete a trigger for good."""
    delete_one(TRIGGER, trigger, account(config), yes=yes, as_json=as_json)


def _when(rule: Mapping[str, Any]) -> str:
    """`DAY 10:00`, `WEEK MONDAY, FRIDAY 10:00`, `ONE_TIME 2026-12-01 10:00:00+09:00`."""
    if rule.get("type") == "RECURRING":
        days = ", ".join(map(str, rule.get("dayOfWeek") or ())) or tables.text(rule, "dateOfMonth")
        parts = [tables.text(rule, "interval"), days, tables.text(rule, "time")]
    else:
        parts = [tables.text(rule, "type"), tables.local(rule, "executionDate")]
    return " ".join(part for part in parts if part)
