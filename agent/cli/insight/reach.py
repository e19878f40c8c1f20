"""Which sink's account a command works with, and the client of Cloud Insight opened for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from agent import config as configuration
from agent.cli import state as states
from agent.cli.refused import code_of
from agent.config.messages import did_you_mean
from agent.delivery.episode import describe
from agent.errors import DeliveryError
from agent.ncloud import CLOUD_INSIGHT, open_gateway
from agent.ncloud.cloud_insight import CloudInsight
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging
from agent.sinks import cloud_insight
from agent.sinks.cloud_insight.feeds import Table
from agent.sinks.cloud_insight.keys import NoKey, resolved

T = TypeVar("T")

Sink = Annotated[
    str | None,
    typer.Option("--sink", help="NAME of [sinks.NAME]: whose keys and zone. [default: the only cloud_insight sink]"),
]


@dataclass(frozen=True, slots=True)
class Reach:
    """A sink of the configuration, and the way to its account."""

    name: str
    sink: cloud_insight.CloudInsight
    config: configuration.Config

    def ask(self, job: Callable[[CloudInsight], Awaitable[T]]) -> T:
        """
        What `job` gives, with a client that is open meanwhile.

        Repeats are told on standard error. Where the service refuses or does not answer, the command ends: the reason
        on standard error, the exit code that of the error.
        """
        try:
            return asyncio.run(self._asked(job))
        except DeliveryError as error:
            refuse(error)

    async def _asked(self, job: Callable[[CloudInsight], Awaitable[T]]) -> T:
        async with open_gateway(self.sink, CLOUD_INSIGHT, name=self.name) as gateway:
            return await job(CloudInsight(gateway, say))


def reach(config: Sequence[Path] | None, sink: str | None) -> Reach:
    """The sink that is meant. Ends the command where there is none, or more than one to choose from."""
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    setup_logging("warning", "text", hide=secrets_in(loaded))
    kind = cloud_insight.CloudInsight.kind
    found: dict[str, Any] = {name: table.plugin for name, table in loaded.sinks.items() if table.kind == kind}
    if sink is None and len(found) == 1:
        (sink,) = found
    if not found:
        states.fail(f"no sink of type {kind} in the configuration: its keys say whose account is meant", Exit.CONFIG)
    if sink is None:
        states.fail(f"expected --sink with one of {', '.join(found)}", Exit.USAGE)
    if sink not in found:
        near = did_you_mean(sink, found)
        states.fail(f"no sink {sink} of type {kind}; there are {', '.join(found)}{near}", Exit.USAGE)
    return Reach(sink, found[sink], loaded)


def key_of(table: Table) -> str:
    """The cw_key of a schema, out of its file where it has one. Ends the command where that holds none yet."""
    try:
        return asyncio.run(resolved(table.schema.key))
    except NoKey as error:
        states.fail(states.printable(error.reason), Exit.CONFIG)


def refuse(error: DeliveryError) -> NoReturn:
    """End the command with what the service said."""
    states.fail(states.printable(describe(error)), code_of(error))


def say(text: str) -> None:
    """What goes on, on standard error: standard output is for the outcome alone."""
    print(states.printable(text), file=sys.stderr, flush=True)
