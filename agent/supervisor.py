"""
Everything that runs, and the order it stops in.

    spool ──────────────────────────────────────────────────────────────────┐
      deliveries, status pages ────────────────────────────────────┐        │
        collectors ─────────────────────────┐                      │        │
                                        1. stop              3. stop after  4. flush, close
                                     nothing new comes   2. a moment to drain,
                                                         the rest waits on disk

The nesting below is that order. Nothing here knows a kind of collector or sink.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import structlog

from agent import SPOOL_FORMAT, __version__
from agent.config import Config
from agent.delivery import Bodies, Delivery
from agent.intake import Intake
from agent.ports import Context
from agent.spool import Reader, Settings, Spool
from agent.stats import Health, Part, Stats
from agent.timing import Backoff

log = structlog.get_logger()

# Reading the spool and packing bodies: two threads let one sink's work overlap another's on two cores.
POOL_THREADS = 2


@dataclass(frozen=True, slots=True)
class _Redeliveries:
    """What a collector may ask the spool: its own unacknowledged packets, nothing else."""

    spool: Spool
    origin: str

    def unacked(self) -> Mapping[int, int]:
        return self.spool.unacked(self.origin)

    def checkpoint(self) -> object:
        return self.spool.checkpoint(self.origin)

    def confirm(self, checkpoint: object) -> None:
        self.spool.confirm(self.origin, checkpoint)


@dataclass(slots=True)
class Running:
    """The parts of a running agent, for whoever looks at it: the status pages and the watchdog."""

    config: Config
    stats: Stats
    health: Health
    spool: Spool
    deliveries: dict[str, Delivery]


async def keep_running(part: Part, start: Callable[[], Awaitable[None]], backoff: Backoff, rng: Random) -> None:
    """Run `start` again whenever it ends. One plugin's bug is not an outage."""
    clock = asyncio.get_running_loop().time
    failures = 0
    while True:
        started = clock()
        try:
            await start()
            log.error("ended by itself", kind=part.kind, name=part.name)
        except Exception as bug:
            # A bug in a plugin: said with its trace, and the plugin gets another chance.
            log.exception("failed", kind=part.kind, name=part.name)
            part.become("down", f"bug: {bug!r}")
        failures = 0 if clock() - started > backoff.cap else failures + 1
        pause = backoff.delay(failures, rng)
        part.beat(pause + 60)
        await asyncio.sleep(pause)


async def run(
    config: Config,
    stop: asyncio.Event,
    *,
    ready: Callable[[Running], Awaitable[None]],
) -> None:
    """
    Run everything in `config` until `stop` is set, then wind down in order.

    `ready` is awaited once the spool is open and the collectors have started. Raises StateError
    where the state directory cannot be used.
    """
    stats, health, rng = Stats(), Health(), Random()
    readers = [
        Reader(
            name,
            table.selection.lane,
            start=table.delivery.start,
            on_full=table.delivery.on_full,
            was=table.delivery.was,
        )
        for name, table in config.sinks.items()
    ]
    with ThreadPoolExecutor(POOL_THREADS, "agent-pool") as pool:
        async with Spool.open(
            config.spool, readers, version=__version__, part=health.part("spool", "writer"), stats=stats
        ) as spool:
            intake = Intake(
                spool,
                [table.selection for table in config.sinks.values()],
                config.agent.tags_with_host(),
                max_record=config.spool.max_record,
                stats=stats,
            )
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
                )
                for name, table in config.sinks.items()
            }
            running = Running(config, stats, health, spool, deliveries)
            async with asyncio.TaskGroup() as outer:
                sending = [
                    outer.create_task(
                        keep_running(health.part("sink", name), delivery.run, Backoff(), rng), name=f"sink {name}"
                    )
                    for name, delivery in deliveries.items()
                ]
                async with asyncio.TaskGroup() as inner:
                    collecting = [
                        inner.create_task(_collect(name, config, intake, spool, stats, health, rng), name=name)
                        for name in config.collectors
                    ]
                    async with asyncio.TaskGroup() as shown:
                        await ready(running)
                        await stop.wait()
                        del shown
                    _cancel(collecting)
                await spool.flush()
                await _drain(deliveries, config.agent.stop_grace)
                _cancel(sending)
