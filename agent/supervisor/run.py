"""
A run of the agent, from the open spool to the closed one, and the order in which it stops.

    spool ─────────────────────────────────────────────────────────────────────┐
      deliveries ─────────────────────────────────────────────────┐            │
        collectors ──────────────┐                                │            │
                             1. stop:                         3. stop:     4. close
                             nothing new   2. what waits gets the rest
                             comes in         a moment to     waits on
                                              drain           disk

The rules of `[[dataflow]]` stop with the collectors: no job is started any more, and what is still stored is noted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from agent import __version__, remembered
from agent.config import Config
from agent.config.settings import Spool as SpoolTable
from agent.delivery import Delivery
from agent.events.memory import Memory
from agent.events.rule import BOOKS
from agent.events.watch import Watch
from agent.intake import Intake, has_other_heads, told_since
from agent.lifecycle import Lifecycle, head_start
from agent.spool import Settings, Spool, default_limits
from agent.stats import Health, Stats
from agent.supervisor.filters import Filters
from agent.supervisor.keeping import end, guarded
from agent.supervisor.running import Running, readers

if TYPE_CHECKING:
    from agent.dataflow.runner import Rules

# Reading the spool and packing bodies: two threads let one sink's work overlap another's on two cores.
POOL_THREADS = 2
# The last word on events must not hold up the stop of an agent whose disk hangs.
LAST_SAVE = 5.0

Beside = Callable[[Running], AbstractAsyncContextManager[None]]
# What a run is: the agent starts; it goes on with a configuration that no swap could bring it to; or somebody only
# takes a look, which is no life of its own and makes no events.
Life = Literal["start", "reload", "look"]


async def run(
    config: Config,
    stop: asyncio.Event,
    beside: Beside,
    progress: Callable[[str], None] | None = None,
    *,
    life: Life = "start",
) -> None:
    """
    Run everything in `config` until `stop` is set, then wind down in order.

    `beside(running)` is entered once the spool is open and the collectors have started, and left when
    everything but the spool has stopped. `progress` is told how a long recovery gets on. `life` tells
    starts from reloads, for events about the agent itself. Raises StateError where the state directory cannot be used.
    """
    stats, health, rng = Stats(), Health(), Random()
    with ThreadPoolExecutor(POOL_THREADS, "agent-pool") as pool:
        settings = await asyncio.to_thread(_settings, config.spool)
        async with Spool.open(
            settings,
            readers(config.sinks),
            version=__version__,
            part=health.part("spool", "writer"),
            stats=stats,
            progress=progress,
        ) as spool:
            memory = await _memory(config, settings.directory, life)
            fixed = config.agent.tags_with_host()
            heads = {} if memory is None else memory.former("heads", dict[str, int]) or {}
            watch = Watch(
                () if memory is None else config.events,
                memory,
                stats=stats,
                fixed=fixed,
                lately=await told_since(spool, heads),
            )
            lifecycle = Lifecycle(
                config.agent.lifecycle_events,
                memory,
                jitter=config.agent.lifecycle_jitter,
                host=fixed["host"],
                version=__version__,
                config=config.config_hash[:12],
                lanes={name: table.selection.lane for name, table in config.sinks.items()},
                health=health,
                rng=rng,
            )
            intake = Intake(
                spool,
                [table.selection for table in config.sinks.values()],
                fixed,
                max_record=config.spool.max_record,
                stats=stats,
                watch=watch,
            )
            if memory is not None:
                memory.keep("heads", intake.heads)
                if has_other_heads(heads, intake.heads()):
                    memory.changed()
                await memory.settle()
            dataflow = await _rules(config, settings.directory, stats, rng)
            filters = Filters(settings.directory, await asyncio.to_thread(remembered.read, settings.directory))
            pause = await asyncio.to_thread(head_start, settings.directory, rng) if life == "start" else 0.0
            async with asyncio.TaskGroup() as group:
                running = Running(
                    config,
                    group=group,
                    pool=pool,
                    rng=rng,
                    stats=stats,
                    health=health,
                    spool=spool,
                    intake=intake,
                    watch=watch,
                    memory=memory,
                    lifecycle=lifecycle,
                    filters=filters,
                    dataflow=dataflow,
                    stop=stop,
                )
                running.start_sinks(config.sinks, pause=pause)
                running.start_collectors(config.collectors, pause=pause)
                async with beside(running), _living(running, life) as living, _leading(dataflow, life) as leading:
                    await stop.wait()
                    stopped_ms = time.time_ns() // 1_000_000
                    grace = running.config.agent.stop_grace
                    with suppress(TimeoutError):
                        async with asyncio.timeout(grace):
                            # What a reload has begun it brings to its end, unless the disk hangs.
                            await running.changing.acquire()
                    await running.end_intake()
                    await end([living, *leading])
                    await _wind_down(spool, running.deliveries.values(), grace)
                    await running.end_delivery()
                    lifecycle.ended(stopped_ms)


async def _memory(config: Config, directory: Path, life: Life) -> Memory | None:
    """What is remembered of events."""
    if life == "look":
        return None
    return await (Memory.load(directory) if _has_events(config) else Memory.blank(directory))


def _has_events(config: Config) -> bool:
    return bool(config.events or config.agent.lifecycle_events)


@asynccontextmanager
async def _living(running: Running, life: Life) -> AsyncIterator[asyncio.Task[None]]:
    """Keep what events have to be remembered, and say what the agent has to say of itself (the task)."""
    lifecycle, memory, emit = running.lifecycle, running.memory, running.intake.emitter(BOOKS)
    lifecycle.begin(again=life == "reload")
    living = asyncio.create_task(guarded(lambda: lifecycle.run(emit), "events of the agent itself"), name="lifecycle")
    tasks = [living]
    if memory is not None:
        tasks.append(asyncio.create_task(guarded(memory.run, "what is remembered of events"), name="memory"))
    try:
        yield living
    finally:
        await end(tasks)
    if memory is None:
        return
    if _has_events(running.config):
        # What became durable on the way out is in it, and that this was a stop.
        await memory.save(within=LAST_SAVE)
    else:
        await memory.forget(within=LAST_SAVE)


async def _rules(config: Config, directory: Path, stats: Stats, rng: Random) -> Rules | None:
    """What there is of `[[dataflow]]` for this agent to do."""
    if not config.led or config.ncloud is None:
        return None
    from agent.dataflow.runner import Rules  # with an HTTP client behind it, which not every agent needs

    return await Rules.open(config.led, config.ncloud, directory, stats=stats, rng=rng)


@asynccontextmanager
async def _leading(rules: Rules | None, life: Life) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Have the rules run; whoever only takes a look notes what it stores, and starts nothing."""
    tasks = []
    if rules is not None and life != "look":
        tasks.append(asyncio.create_task(guarded(rules.run, "Data Flow rules"), name="dataflow"))
    try:
        yield tasks
    finally:
        await end(tasks)


async def _wind_down(spool: Spool, deliveries: Iterable[Delivery], grace: float) -> None:
    """Give what waits a moment; what is still there then waits on disk for the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await spool.flush()
            async with asyncio.TaskGroup() as tasks:
                for delivery in deliveries:
                    tasks.create_task(delivery.drained())


def _settings(table: SpoolTable) -> Settings:
    """The `[spool]` table with its sizes resolved against the filesystem it lives on."""
    most, free = default_limits(table.directory)
    return Settings(
        directory=table.directory,
        durability=table.durability,
        interval=table.interval,
        max_bytes=most if table.max_bytes is None else table.max_bytes,
        min_free_bytes=free if table.min_free_bytes is None else table.min_free_bytes,
        max_age=table.max_age,
        max_record=table.max_record,
        retire_after=table.retire_after,
        dead_max_bytes=table.dead_max_bytes,
        dead_max_age=table.dead_max_age,
    )
