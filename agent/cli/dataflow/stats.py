"""`dataflow stats`: how many executions there were in a span of time, how they ended, and when."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli import state as states
from agent.cli.dataflow import tables
from agent.cli.dataflow.account import account, ask
from agent.cli.span import From, To, span

USUAL = "7d"
Last = Annotated[str | None, typer.Option("--last", help=f"So much time until --to, such as 24h. [default: {USUAL}]")]

app = typer.Typer(no_args_is_help=True, help="How many executions there were, how they ended, and when.")


@app.command()
def results(
    last: Last = None,
    since: From = None,
    until: To = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """How many executions there were, and how many of them completed and failed."""
    asked = span(last, since, until, USUAL).moments()
    found = ask(account(config), lambda flow: flow.results(*asked))
    row = [found.get(name, "") for name in ("totalCount", "completedCount", "failedCount")]
    tables.print_list(found, ("executions", "completed", "failed"), [row], as_json=as_json)


@app.command()
def counts(
    last: Last = None,
    since: From = None,
    until: To = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """How many executions there were each day."""
    asked = span(last, since, until, USUAL).moments()
    found = ask(account(config), lambda flow: flow.counts(*asked))
    rows = [
        (tables.local(one, "startDate"), tables.local(one, "endDate"), one.get("totalCount", ""))
        for one in tables.rows(found, "result")
    ]
    tables.print_list(found, ("from", "to", "executions"), rows, as_json=as_json)


@app.command()
def times(
    last: Last = None,
    since: From = None,
    until: To = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """When executions ran: how many in each of the steps that Data Flow chooses."""
    asked = span(last, since, until, USUAL).moments()
    found = ask(account(config), lambda flow: flow.times(*asked))
    rows = [(tables.at(one, "time"), one.get("value", "")) for one in tables.rows(found, "result")]
    tables.print_list(found, ("time", "executions"), rows, as_json=as_json)
