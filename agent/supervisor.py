"""
Everything that runs, and the order it stops in.

    spool ─────────────────────────────────────────────────────────────────────┐
      deliveries ─────────────────────────────────────────────────┐            │
        collectors ──────────────┐                                │            │
                             1. stop:                         3. stop:     4. close
                             nothing new   2. what waits gets the rest
                             comes in         a moment to     waits on
                                              drain           disk

Nothing here knows a kind of collector or sink.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import structlog

from agent import __version__, remembered
from agent.config import Config, SinkTable
from agent.config.settings import Spool as SpoolTable
from agent.delivery import Bodies, Delivery
from agent.events.memory import Memory
from agent.events.rule import BOOKS
from agent.events.watch import Watch
from agent.intake import Intake, has_other_heads, told_since
from agent.lifecycle import Lifecycle
from agent.ports import Context, Emit
from agent.spool import Reader, Settings, Spool, default_limits
from agent.stats import Health, Part, Stats
from agent.timing import Backoff

log = structlog.get_logger()

# Reading the spool and packing bodies: two threads let one sink's work overlap another's on two cores.
POOL_THREADS = 2
# How often it is looked whether a collector is up, so that its topics can be kept for the next run.
LOOK_AGAIN = 1.0
# A plugin that ended gets this long to make its first attempt after the pause.
FIRST_ATTEMPT = 60.0
# The last word on events must not hold up the stop of an agent whose disk hangs.
LAST_SAVE = 5.0


@dataclass(frozen=True, slots=True)
class _Redeliveries:
    """What a collector may ask of the spool: its own unacknowledged packets, nothing else."""

    spool: Spool
    origin: str

    def unacked(self) -> Mapping[int, int]:
        return self.spool.unacked(self.origin)

    def checkpoint(self) -> object:
        return self.spool.checkpoint(self.origin)

    def confirm(self, checkpoint: object) -> None:
        self.spool.confirm(self.origin, checkpoint)


@dataclass(frozen=True, slots=True)
class Running:
    """A running agent, for whoever looks at it: the status pages and the watchdog."""

    config: Config
    stats: Stats
    health: Health
    spool: Spool
    deliveries: Mapping[str, Delivery]


Beside = Callable[[Running], AbstractAsyncContextManager[None]]
# What a run is: the agent starts; it goes on with another configuration; or somebody only takes a look, which is
# no life of its own and makes no events.
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
        settings = await asyncio.to_thread(spool_settings, config.spool)
        async with Spool.open(
            settings,
            [reader(name, table) for name, table in config.sinks.items()],
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
            bodies = Bodies()
            deliveries = {
                name: Delivery(
                    name,
                    table.plugin,
                    spool.cursors(name),
                    options=table.delivery,
                    spool=spool,
                    stats=stats,
                    part=health.part("sink", name),
                    rng=rng,
                    bodies=bodies,
                    pool=pool,
                    tell=lifecycle.tell,
                )
                for name, table in config.sinks.items()
            }
            running = Running(config, stats, health, spool, deliveries)
            former = await asyncio.to_thread(remembered.read, settings.directory)
            async with asyncio.TaskGroup() as tasks:
                sending = [
                    tasks.create_task(keep_running(health.part("sink", name), delivery.run, rng), name=f"sink {name}")
                    for name, delivery in deliveries.items()
                ]
                collecting = [
                    tasks.create_task(_collect(name, running, intake, rng, former), name=f"collector {name}")
                    for name in config.collectors
                ]
                leaving = tasks.create_task(_leave_filters(running, former), name="subscriptions")
                async with beside(running), _living(memory, lifecycle, intake.emitter(BOOKS), life) as living:
                    await stop.wait()
                    stopped_ms = time.time_ns() // 1_000_000
                    await _end([*collecting, leaving, living])
                    await _wind_down(spool, deliveries.values(), config.agent.stop_grace)
                    await _end(sending)
                    lifecycle.ended(stopped_ms)


async def _memory(config: Config, directory: Path, life: Life) -> Memory | None:
    """What is remembered of events, where there are any."""
    if life == "look":
        return None
    if config.events or config.agent.lifecycle_events:
        return await Memory.load(directory)
    await Memory.forget(directory)
    return None


@asynccontextmanager
async def _living(
    memory: Memory | None, lifecycle: Lifecycle, emit: Emit, life: Life
) -> AsyncIterator[asyncio.Task[None]]:
    """Keep what events have to be remembered, and say what the agent has to say of itself (the task)."""
    lifecycle.begin(again=life == "reload")
    living = asyncio.create_task(_guarded(lambda: lifecycle.run(emit), "events of the agent itself"), name="lifecycle")
    tasks = [living]
    if memory is not None:
        tasks.append(asyncio.create_task(_guarded(memory.run, "what is remembered of events"), name="memory"))
    try:
        yield living
    finally:
        await _end(tasks)
    if memory is not None:
        # What became durable on the way out is in it, and that this was a stop.
        await memory.save(within=LAST_SAVE)


async def _guarded(run: Callable[[], Awaitable[None]], what: str) -> None:
    """A bug in what only tells of others ends itself alone; it is said, and the next start begins it anew."""
    try:
        await run()
    except Exception:
        # Said with its trace; neither records nor their delivery need it.
        log.exception("failed, and stays so until the next start", part=what)


async def keep_running(part: Part, start: Callable[[], Awaitable[None]], rng: Random) -> None:
    """Run `start` again whenever it ends. One plugin's bug is not an outage."""
    clock = asyncio.get_running_loop().time
    backoff = Backoff()
    failures = 0
    while True:
        started = clock()
        try:
            await start()
            log.error("ended by itself", kind=part.kind, name=part.name)
            part.become("down", "ended by itself")
        except Exception as bug:
            # A bug in a plugin: said with its trace, and the plugin gets another chance.
            log.exception("failed", kind=part.kind, name=part.name)
            part.become("down", f"bug: {bug!r}")
            if (task := asyncio.current_task()) is not None and task.cancelling():
                return  # it failed while it was being stopped; started again it would hold up the stop for good
        failures = 0 if clock() - started > backoff.cap else failures + 1
        pause = backoff.delay(failures, rng)
        part.beat(pause + FIRST_ATTEMPT)
        await asyncio.sleep(pause)


def spool_settings(table: SpoolTable) -> Settings:
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


def reader(name: str, table: SinkTable) -> Reader:
    """The reader that a sink is to the spool."""
    options = table.delivery
    return Reader(name, table.selection.lane, options.start, options.on_full, options.was)


async def _collect(name: str, running: Running, intake: Intake, rng: Random, former: remembered.Filters) -> None:
    table = running.config.collectors[name]
    part = running.health.part("collector", name)
    context = Context(
        name=name,
        hostname=running.config.agent.hostname,
        instance=running.spool.instance,
        stats=running.stats,
        part=part,
        redeliveries=_Redeliveries(running.spool, name),
        previous=former.get(name, ()),
    )
    await keep_running(part, lambda: table.plugin.run(intake.emitter(name, table.tags), context), rng)


async def _leave_filters(running: Running, former: remembered.Filters) -> None:
    """Once a collector is up, what it had to unsubscribe is done: from then on only its present topics matter."""
    present = {name: tuple(getattr(table.plugin, "filters", ())) for name, table in running.config.collectors.items()}
    known = {name: filters for name, filters in present.items() if filters}
    waiting = {name for name in known if known[name] != former.get(name)}
    left = {name: former.get(name, ()) for name in known}
    while waiting:
        up = {name for name in waiting if running.health.part("collector", name).state == "up"}
        if up:
            left.update({name: known[name] for name in up})
            try:
                await asyncio.to_thread(remembered.write, running.spool.settings.directory, left)
                waiting -= up
            except OSError as error:
                log.debug("the topics subscribed to are not kept yet", reason=error.strerror)
        await asyncio.sleep(LOOK_AGAIN)


async def _wind_down(spool: Spool, deliveries: Iterable[Delivery], grace: float) -> None:
    """Give what waits a moment; what is still there then waits on disk for the next start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await spool.flush()
            async with asyncio.TaskGroup() as tasks:
                for delivery in deliveries:
                    tasks.create_task(delivery.drained())


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
