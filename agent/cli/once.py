"""`once`: one sample of everything that is sampled, printed; or, with --send, delivered."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from agent import config as configuration
from agent import supervisor
from agent.config import Config
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging
from agent.sinks.stdout import Stdout
from agent.supervisor import Running

LOOK_AGAIN = 0.05  # seconds between two looks whether everything has been sampled


def once(
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"A file, or a directory of *.toml; may be repeated. [default: {configuration.DEFAULT_PATH}]"
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Deliver the sample to the sinks, through the spool, instead of printing it.")
    ] = False,
    seconds: Annotated[float, typer.Option("--for", help="How long to wait for the samples, in seconds.")] = 30.0,
) -> None:
    """
    Take one sample of everything that is sampled and print it, a record a line.

    Message sources are left out: a look must not take messages away from the running agent. Values
    that are differences (host.cpu) need a second sample and are there only if the interval is short.
    """
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    setup_logging("warning", "text", hide=secrets_in(loaded))
    sampled = {name: table for name, table in loaded.collectors.items() if table.plugin.sampled}
    for name in loaded.collectors.keys() - sampled.keys():
        print(f"{name} ({loaded.collectors[name].kind}) is left out: it takes messages", file=sys.stderr)
    if not sampled:
        raise typer.Exit(_said("nothing in this configuration is sampled", Exit.UNAVAILABLE))
    loaded = replace(loaded, collectors=sampled, status=replace(loaded.status, enabled=False))
    if send:
        raise typer.Exit(asyncio.run(_send(loaded, seconds)))
    with TemporaryDirectory(prefix="telemetry-agent-once-") as folder:
        raise typer.Exit(asyncio.run(_send(_printing(loaded, Path(folder)), seconds)))


def _printing(config: Config, folder: Path) -> Config:
    """The same collectors, with a state of their own and standard output as the only sink."""
    any_sink = next(iter(config.sinks.values()))
    selection = type(any_sink.selection)()
    delivery = type(any_sink.delivery)()
    sink = replace(any_sink, kind="stdout", plugin=Stdout(), delivery=delivery, selection=selection)
    spool = replace(config.spool, directory=folder, durability="none", min_free_bytes=0)
    return replace(config, spool=spool, sinks={"stdout": sink})


async def _send(config: Config, seconds: float) -> int:
    stop = asyncio.Event()
    left = 0

    @asynccontextmanager
    async def beside(running: Running) -> AsyncIterator[None]:
        nonlocal left
        waiting = asyncio.create_task(_stop_when_sampled(running, stop, seconds))
        try:
            yield
        finally:
            waiting.cancel()
        left = sum(delivery.queued() for delivery in running.deliveries.values())

    await supervisor.run(config, stop, beside)
    if left:
        return _said(f"{left} records could not be delivered; they wait in {config.spool.directory}", Exit.TEMPORARY)
    return Exit.OK


async def _stop_when_sampled(running: Running, stop: asyncio.Event, seconds: float) -> None:
    """Set `stop` once every collector has handed something over, or when the time is up."""
    counters = [
        running.stats.counter("agent_intake_committed_total", "Payloads made durable.", collector=name)
        for name in running.config.collectors
    ]
    try:
        async with asyncio.timeout(seconds):
            while not all(counter.value for counter in counters):  # noqa: ASYNC110 a counter wakes nobody
                await asyncio.sleep(LOOK_AGAIN)
    except TimeoutError:
        _said(f"not everything was sampled within {seconds:g} s", Exit.TEMPORARY)
    stop.set()


def _said(text: str, code: Exit) -> int:
    print(text, file=sys.stderr)
    return code
