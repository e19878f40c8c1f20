"""`once`: one sample of everything that is sampled, printed; or, with --send, delivered."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar

import typer

from agent import config as configuration
from agent import supervisor
from agent.cli import state as states
from agent.config import CollectorTable, Config
from agent.ports import Collector, Context, Emit
from agent.record import Emission
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging
from agent.sinks.stdout import Stdout
from agent.supervisor import Running

APART = 1.0  # seconds from one sample to the next
LOOK_AGAIN = 0.05  # seconds between two looks whether everything has been sampled


def once(
    config: states.Config = None,
    send: Annotated[
        bool, typer.Option("--send", help="Deliver the sample to the sinks, through the spool, instead of printing it.")
    ] = False,
    seconds: Annotated[float, typer.Option("--for", help="How long to wait for the samples, in seconds.")] = 30.0,
) -> None:
    """
    Take one sample of everything that is sampled and print it, a record a line.

    Message sources are left out: a look must not take messages away from the running agent. What is
    printed is each collector's second sample, a second after the first, as some values are differences.
    """
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    setup_logging("warning", "text", hide=secrets_in(loaded))
    sampled = {name: _second(table) for name, table in loaded.collectors.items() if table.plugin.sampled}
    for name in loaded.collectors.keys() - sampled.keys():
        print(f"{name} ({loaded.collectors[name].kind}) is left out: it takes messages", file=sys.stderr)
    if not sampled:
        raise typer.Exit(_said("nothing in this configuration is sampled", Exit.UNAVAILABLE))
    loaded = replace(loaded, collectors=sampled, status=replace(loaded.status, enabled=False))
    if send:
        raise typer.Exit(asyncio.run(_send(loaded, seconds, is_told=True)))
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


@dataclass(frozen=True, slots=True)
class _Second:
    """A collector that looks every second, of which one sample is let through: the first that has one before it."""

    plugin: Collector
    sampled: ClassVar[bool] = True

    async def run(self, emit: Emit, context: Context) -> None:
        loop = asyncio.get_running_loop()
        last, is_over = loop.time(), False
        is_first = True

        def one(emission: Emission) -> asyncio.Future[None]:
            nonlocal last, is_first, is_over
            now = loop.time()
            is_far, last = not is_first and now - last >= APART / 2, now
            is_first = False
            if is_far and not is_over:
                is_over = True
                return emit(emission)
            dropped: asyncio.Future[None] = loop.create_future()
            dropped.set_result(None)
            return dropped

        await self.plugin.run(one, context)


def _second(table: CollectorTable) -> CollectorTable:
    """The collector as `_Second`, where it has an interval that can be made short."""
    plugin: Any = table.plugin
    if "interval" not in {each.name for each in fields(plugin)}:
        return table
    return replace(table, plugin=_Second(replace(plugin, interval=APART)))


async def _send(config: Config, seconds: float, *, is_told: bool = False) -> int:
    stop = asyncio.Event()
    told = list[str]()
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
        told.extend(_outcome(running, name) for name in config.sinks)

    await supervisor.run(config, stop, beside, life="look")
    if is_told:
        print("\n".join(told), file=sys.stderr)
    if left:
        return _said(f"{left} records could not be delivered; they wait in {config.spool.directory}", Exit.TEMPORARY)
    return Exit.OK


def _outcome(running: Running, sink: str) -> str:
    delivered, dead = (
        int(
            running.stats.counter(
                "agent_sink_records_total", "Records by what became of them.", sink=sink, outcome=outcome
            ).value
        )
        for outcome in ("delivered", "dead")
    )
    refused = f", {dead} refused: see telemetry-agent dead-letters list" if dead else ""
    return f"{delivered} records delivered to {sink}{refused}"


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
