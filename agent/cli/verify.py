"""`verify-delivery`: sends one marked thing through a sink and reads it back from the far side."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated, Any

import typer

from agent import config as configuration
from agent.cli import state as states
from agent.config.messages import did_you_mean
from agent.config.plugins import KINDS
from agent.delivery.episode import describe
from agent.errors import DeliveryError, Unfit, Unverified
from agent.service.exits import Exit, exit_code
from agent.service.logs import secrets_in, setup_logging


def verify_delivery(
    sink: Annotated[str, typer.Argument(help="NAME of [sinks.NAME].")],
    config: states.Config = None,
    as_json: states.AsJson = False,
) -> None:
    """
    Prove that what a sink sends arrives: send one marked thing, read it back, show the evidence.

    Works beside a running agent and touches none of its state.
    """
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    setup_logging("warning", "text", hide=secrets_in(loaded))
    table = loaded.sinks.get(sink)
    if table is None:
        near = did_you_mean(sink, loaded.sinks)
        states.fail(f"no sink {sink}; there are {', '.join(loaded.sinks)}{near}", Exit.USAGE)
    verify: Any = getattr(table.plugin, "verify", None)
    if verify is None:
        able = ", ".join(kind for kind in KINDS["sinks"].own if hasattr(KINDS["sinks"].find(kind), "verify"))
        states.fail(f"a sink of type {table.kind} cannot read back what it has sent; these can: {able}", Exit.USAGE)
    began = time.monotonic()
    steps: list[dict[str, Any]] = []

    def say(text: str) -> None:
        seconds = round(time.monotonic() - began, 1)
        steps.append({"seconds": seconds, "text": text})
        # With --json standard output is for programs alone.
        print(f"{seconds:6.1f} s  {states.printable(text)}", file=sys.stderr if as_json else sys.stdout, flush=True)

    evidence = problem = ""
    code = Exit.OK
    try:
        evidence = asyncio.run(verify(say))
    except (Unverified, DeliveryError, Unfit) as error:
        problem = describe(error) if isinstance(error, DeliveryError) else str(error)
        code = Exit.REFUSED if isinstance(error, Unfit) else exit_code(error)
    if as_json:
        outcome = {"sink": sink, "type": table.kind, "verified": not problem, "evidence": evidence, "error": problem}
        states.print_json({**outcome, "seconds": round(time.monotonic() - began, 1), "steps": steps})
    if problem:
        states.fail(f"{sink} is not verified: {states.printable(problem)}", code)
    if not as_json:
        print(f"{sink} is verified: {states.printable(evidence)}")
