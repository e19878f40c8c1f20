"""`obsrv dataset example` and `create`: the request that makes a sink's dataset, and its way to Live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer

from agent.cli import state as states
from agent.cli.obsrv.reach import Reach, Sink, TokenFile, reach, say
from agent.service.exits import Exit
from agent.sinks.obsrv.datasets import Datasets, Status

PUBLISH: tuple[Status, ...] = ("ReadyToPublish", "Live")  # in this order


def example(config: states.Config = None, sink: Sink = None) -> None:
    """
    Print the request that creates a dataset for a sink, ready to be edited. Asks nobody.

    The schema has the fields that are known beforehand: those of the host's metrics and of events. Put in those of
    your devices: only fields of the schema become columns that can be queried.
    """
    made = reach(config, sink, None).expected()
    states.print_json(made.create())
    if made.unlisted:
        say(f"nobody knows the fields of {', '.join(made.unlisted)} beforehand: add those that you want to query")


def create(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The request, as `example` prints it, or `-`. [default: as `example` has it]", readable=False
        ),
    ] = None,
    config: states.Config = None,
    sink: Sink = None,
    token_file: TokenFile = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Take it on to ReadyToPublish and Live, an existing draft too.")
    ] = False,
    as_json: states.AsJson = False,
) -> None:
    """
    Create the dataset that a sink sends to, as a Draft; --publish makes it Live.

    Nothing is sent twice where it is not known what became of it: `dataset read --draft` tells.
    """
    chosen = reach(config, sink, token_file)
    request = _wanted(chosen, file)
    dataset = request["dataset_id"]
    if dataset != chosen.dataset:
        say(f"{dataset} is not the dataset of the sink {chosen.name}, which is {chosen.dataset}")

    async def work(datasets: Datasets) -> dict[str, Any]:
        status = await _draft_status(datasets, dataset) if publish else None
        done: dict[str, Any] = {"dataset": dataset, "status": "Draft"}
        if status is None:
            done["version_key"] = await datasets.create(request)
            say(f"{dataset} is created, as a Draft")
        for step in PUBLISH[status == "ReadyToPublish" :] if publish else ():
            await datasets.transition(dataset, step)
            say(f"{dataset} is {step}")
            done["status"] = step
        return done

    done = chosen.ask(work)
    if as_json:
        states.print_json(done)
    elif publish:
        print(f"{dataset} is Live: `obsrv dataset verify` looks whether all that the sink sends is kept")
    else:
        print(
            f"{dataset} is a Draft, which takes no data yet. What remains: ReadyToPublish, then Live; "
            "`obsrv dataset create --publish` does both, by Obsrv's command service"
        )


async def _draft_status(datasets: Datasets, dataset: str) -> str | None:
    """The status of a dataset's draft. None where there is none, or the dataset is published already."""
    # A published one's draft is not asked for: Obsrv would make one.
    if await datasets.read(dataset, ["status"]) is not None:
        return None
    draft = await datasets.read(dataset, ["status"], draft=True)
    return None if draft is None else str(draft.get("status"))


def _wanted(chosen: Reach, file: Path | None) -> dict[str, Any]:
    """The inner request, out of a file with or without its envelope. Ends the command where it is none."""
    if file is None:
        text = orjson.dumps(chosen.expected().create())
    else:
        try:
            text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            states.fail(f"{file}: {error.strerror}", Exit.INPUT_OUTPUT)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        _refuse(file, f"expected JSON, found something else: {error}")
    request = body.get("request", body) if isinstance(body, dict) else body
    if not isinstance(request, dict):
        _refuse(file, "expected an object, as `obsrv dataset example` prints it")
    for key in ("dataset_id", "name", "type"):  # without the last one Obsrv fails: 500
        if not isinstance(request.get(key), str) or not request[key]:
            _refuse(file, f"expected a text as {key}, found {orjson.dumps(request.get(key)).decode()}")
    return request


def _refuse(file: Path | None, text: str) -> NoReturn:
    states.fail(states.printable(f"{file}: {text}"), Exit.REFUSED)
