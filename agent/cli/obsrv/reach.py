"""Which sink's Obsrv a command works with, and its datasets, opened for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from agent import config as configuration
from agent.cli import state as states
from agent.cli.obsrv.samples import samples
from agent.cli.refused import code_of
from agent.config.messages import did_you_mean
from agent.delivery.episode import describe
from agent.errors import DeliveryError
from agent.schema import Secret
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging
from agent.sinks.obsrv import Obsrv
from agent.sinks.obsrv.datasets import Datasets, open_datasets
from agent.sinks.obsrv.expected import Expected, expected

T = TypeVar("T")

Sink = Annotated[
    str | None, typer.Option("--sink", help="NAME of [sinks.NAME]: which dataset. [default: the only obsrv sink]")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the JWT to show. [default: the sink's query_token, or its token]", readable=False),
]


@dataclass(frozen=True, slots=True)
class Reach:
    """A sink of the configuration, and the way to its Obsrv."""

    name: str
    config: configuration.Config
    token: Secret | None  # in place of the sink's own

    @property
    def sink(self) -> Obsrv:
        """The sink itself."""
        plugin: Any = self.config.sinks[self.name].plugin
        assert isinstance(plugin, Obsrv)  # noqa: S101 - `reach` has looked
        return plugin

    @property
    def dataset(self) -> str:
        """The id of its dataset."""
        return self.sink.dataset.strip()

    def expected(self) -> Expected:
        """What it will send."""
        return expected(self.sink, samples(self.config, self.config.sinks[self.name].selection))

    def ask(self, job: Callable[[Datasets], Awaitable[T]]) -> T:
        """
        What `job` gives, with a client that is open meanwhile.

        Repeats are told on standard error. Where Obsrv refuses or does not answer, the command ends: the reason on
        standard error, the exit code that of the error.
        """

        async def asked() -> T:
            async with open_datasets(self.sink, token=self.token, say=say) as datasets:
                return await job(datasets)

        try:
            return asyncio.run(asked())
        except DeliveryError as error:
            states.fail(states.printable(describe(error)), code_of(error))


def reach(config: Sequence[Path] | None, sink: str | None, token_file: Path | None) -> Reach:
    """The sink that is meant. Ends the command where there is none, or more than one to choose from."""
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    if token_file is not None:
        try:
            token_file.read_bytes()
        except OSError as error:
            states.fail(f"--token-file {token_file}: {error.strerror}", Exit.INPUT_OUTPUT)
    token = None if token_file is None else Secret(path=str(token_file))
    setup_logging("warning", "text", hide=[*secrets_in(loaded), *([] if token is None else [token])])
    found = [name for name, table in loaded.sinks.items() if isinstance(table.plugin, Obsrv)]
    if not found:
        states.fail(f"no sink of type {Obsrv.kind} in the configuration: it says which dataset is meant", Exit.CONFIG)
    if sink is None and len(found) > 1:
        states.fail(f"expected --sink with one of {', '.join(found)}", Exit.USAGE)
    name = found[0] if sink is None else sink
    if name not in found:
        near = did_you_mean(name, found)
        states.fail(f"no sink {name} of type {Obsrv.kind}; there are {', '.join(found)}{near}", Exit.USAGE)
    return Reach(name, loaded, token)


def say(text: str) -> None:
    """What goes on, on standard error: standard output is for the outcome alone."""
    print(states.printable(text), file=sys.stderr, flush=True)
