"""`dataflow jobs`: look at jobs and their executions, make and change them, run them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli import state as states
from agent.cli.dataflow import tables
from agent.cli.dataflow.account import account, ask
from agent.cli.dataflow.files import Body, checked, read, sound
from agent.cli.dataflow.kinds import JOB, Yes
from agent.cli.dataflow.kinds import delete as delete_one
from agent.cli.dataflow.running import Every, Run, Timeout, Wait, following, parameters
from agent.config.messages import did_you_mean
from agent.ncloud.data_flow import DataFlow
from agent.ncloud.data_flow.bodies import run_body
from agent.service.exits import Exit

app = typer.Typer(no_args_is_help=True, help="Jobs: look at them, make and change them, run them.")

Job = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or its name where no other has it.")]

VERIFIED = ("name", "nodes", "description")  # verifyJob: all that it takes
STATUSES = ("RUNNABLE", "RUNNING", "DELETED", "UNKNOWN", "DRAFT", "STOPPED", "EDITING")  # getJobs


@app.command("list")
def show_all(
    name: Annotated[str | None, typer.Option(help="Those that Data Flow finds by this name.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Those with this status: {', '.join(STATUSES)}.")] = None,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """List jobs."""
    if status is not None and status not in STATUSES:
        near = did_you_mean(status.upper(), STATUSES)
        states.fail(f'--status: expected one of {", ".join(STATUSES)}, found "{status}"{near}', Exit.USAGE)
    found = ask(account(config), lambda flow: flow.jobs(name=name, status=status))
    rows = [
        (
            tables.text(one, "jobId"),
            tables.text(one, "name"),
            tables.text(one, "type"),
            tables.text(one, "status"),
            tables.local(one, "lastExecutionDate"),
            tables.text(one, "lastExecutionStatus"),
        )
        for one in found
    ]
    tables.print_list(found, ("id", "name", "type", "status", "last run", "last status"), rows, as_json=as_json)


@app.command("show")
def show_one(job: Job, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Show all of a job."""
    tables.print_one(ask(account(config), lambda flow: JOB.find(flow, job)), as_json=as_json)


@app.command()
def create(file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Create a job as a file has it, and print its id."""
    of = account(config)
    body = checked(file, "create_job", of.api)
    made = ask(of, lambda flow: flow.create_job(body), doubt=JOB.doubt)
    tables.print_made(made, JOB.key, as_json=as_json)


@app.command()
def update(job: Job, file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Change a job as a file has it: all of it with `api = "2024"`, else what the file names."""
    of = account(config)
    body = checked(file, "update_job", of.api)

    async def work(flow: DataFlow) -> tables.Row:
        changed: tables.Row = await flow.update_job(await JOB.id(flow, job), body)
        return changed

    tables.print_one(ask(of, work), as_json=as_json)


@app.command()
def delete(job: Job, yes: Yes = False, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Delete a job for good."""
    delete_one(JOB, job, account(config), yes=yes, as_json=as_json)


@app.command()
def verify(file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Have Data Flow check the nodes of a job in a file. Nothing is made."""
    of = account(config)
    whole = read(file)
    # A file that jobs create takes is looked at as a whole, and its nodes are sent.
    if set(whole) > set(VERIFIED):
        sound(whole, "create_job", of.api, of=str(file))
    body = sound({name: whole[name] for name in whole if name in VERIFIED}, "verify_job", of.api, of=str(file))
    is_valid = ask(of, lambda flow: flow.verify_job(body)) is True
    if as_json:
        states.print_json({"valid": is_valid})
    elif is_valid:
        print(f"{states.printable(body['name'])}: no mistakes")
    if not is_valid:
        states.fail(f"{states.printable(body['name'])}: Data Flow says that this is no valid job", Exit.REFUSED)


@app.command()
def executions(
    job: Job,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """List the executions of a job."""

    async def work(flow: DataFlow) -> list[tables.Row]:
        return list(await flow.job_executions(await JOB.id(flow, job), limit))

    tables.print_executions(ask(account(config), work), as_json=as_json)


@app.command()
def execution(
    job: Job,
    execution: Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id, as `run` and `executions` print it.")],
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """Show all of one execution of a job."""

    async def work(flow: DataFlow) -> tables.Row:
        return await flow.job_execution(await JOB.id(flow, job), execution)

    tables.print_one(ask(account(config), work), as_json=as_json)


@app.command()
def run(
    job: Job,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="JSON or TOML with the table jobCondition. [default: the job's own]", readable=False
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=TEXT", help="For a script; may be repeated.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    every: Every = "5s",
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Run a job and print the id of its execution; with --wait, follow it to its end.

    It is started once: where no answer comes, its execution is looked for, and taken for started when it is there.
    Exit codes with --wait: 0 COMPLETED, 79 FAILED, 80 CANCELED.
    """
    follow = following(wait=wait, timeout=timeout, every=every)
    of = account(config)
    body = {} if file is None else checked(file, "run_job", of.api)
    if parameter:
        given = {**body.get("parameters", {}), **parameters(parameter)}
        body = run_body(of.api, body.get("jobCondition"), given) or {}
    body = sound(body, "run_job", of.api, of="run")
    Run(kind=JOB, asked=job, config=config, body=body or None).carry_out(of, follow, as_json=as_json)


@app.command("config")
def configure(job: Job, file: Body, config: states.Config = None, as_json: states.AsJson = False) -> None:
    """Set with what a job runs (its jobCondition) as a file has it."""
    of = account(config)
    body = checked(file, "configure_job", of.api)

    async def work(flow: DataFlow) -> tables.Row:
        changed: tables.Row = await flow.configure_job(await JOB.id(flow, job), body)
        return changed

    tables.print_one(ask(of, work), as_json=as_json)
