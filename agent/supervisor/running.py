"""What runs, for whoever looks at it and for whoever changes it: collectors and deliveries, by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from agent.config import CollectorTable, Config, SinkTable
from agent.delivery import Bodies, Delivery
from agent.events.memory import Memory
from agent.events.watch import Watch
from agent.intake import Intake
from agent.lifecycle import Lifecycle
from agent.ports import Context
from agent.spool import Reader, Spool
from agent.stats import Health, Part, Stats
from agent.supervisor.filters import Filters
from agent.supervisor.keeping import FIRST_ATTEMPT, Tasks, guarded, keep_running

if TYPE_CHECKING:
    from agent.dataflow.runner import Rules

# What is on its way when a sink is ended gets this long for an outcome; without one it is sent again, by its name.
LANDING = 1.0
# A part that is ended gets this long; one that hangs ends in its own time, and the next of its name waits for that.
ENDING = 5.0
STORE_AGAIN = 1.0  # seconds between two looks whether the disk takes something again


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


class Running:
    """
    A running agent. What is looked up here is there at that moment: a reload puts other parts in the place of some.

    `collecting` and `sending` are the tables of what runs, `config` is what all of it comes from.
    """

    def __init__(
        self,
        config: Config,
        *,
        group: asyncio.TaskGroup,
        pool: Executor,
        rng: Random,
        stats: Stats,
        health: Health,
        spool: Spool,
        intake: Intake,
        watch: Watch,
        memory: Memory | None,
        lifecycle: Lifecycle,
        filters: Filters,
        dataflow: Rules | None,
        stop: asyncio.Event,
    ) -> None:
        self.config = config
        self.stats = stats
        self.health = health
        self.spool = spool
        self.intake = intake
        self.watch = watch
        self.memory = memory
        self.lifecycle = lifecycle
        self.dataflow = dataflow
        self.collecting: dict[str, CollectorTable] = {}
        self.sending: dict[str, SinkTable] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.read_by, self.rules = readers(config.sinks), config.events  # what the spool and `watch` have
        self.stop = stop
        self.changing = asyncio.Lock()  # one change at a time, and a stop comes after it
        self._pool = pool
        self._rng = rng
        self._bodies = Bodies()
        self._filters = filters
        self._collectors = Tasks(group, "collector")
        self._sinks = Tasks(group, "sink")
        self._beside = Tasks(group, "supervisor")

    # Sinks.

    def start_sinks(self, tables: Mapping[str, SinkTable], *, pause: float = 0.0) -> None:
        """Start deliveries, each over the cursors that the spool has for it; `pause` seconds are left to others."""
        for name, table in tables.items():
            part = self.health.part("sink", name)
            delivery = Delivery(
                name,
                table.plugin if self.dataflow is None else self.dataflow.watched(name, table.plugin),
                self.spool.cursors(name),
                options=table.delivery,
                spool=self.spool,
                stats=self.stats,
                part=part,
                rng=self._rng,
                bodies=self._bodies,
                pool=self._pool,
                tell=self.lifecycle.tell,
            )
            self.deliveries[name], self.sending[name] = delivery, table
            self._sinks.start(name, partial(self._send, part, delivery, pause))

    async def end_sinks(self, names: Iterable[str]) -> None:
        """End deliveries. What is not settled waits in the spool, planned batches under their names."""
        names = list(names)
        going = [self.deliveries.pop(name) for name in names]
        for name in names:
            del self.sending[name]
        if going:
            landing = [asyncio.ensure_future(delivery.landed()) for delivery in going]
            await asyncio.wait(landing, timeout=LANDING)
            for each in landing:
                each.cancel()
            await self._sinks.end(names, within=ENDING)
        for delivery in going:
            delivery.end()
            self.health.forget("sink", delivery.name)

    async def _send(self, part: Part, delivery: Delivery, pause: float) -> None:
        part.beat(pause + FIRST_ATTEMPT)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self.stop.wait()  # a stop gives what waits a moment, and that is now
        await keep_running(part, delivery.run, self._rng)

    # Collectors.

    def start_collectors(self, tables: Mapping[str, CollectorTable], *, pause: float = 0.0) -> None:
        """Start collectors; those of far-away sources leave `pause` seconds to others."""
        for name, table in tables.items():
            self.collecting[name] = table
            part, previous = self.health.part("collector", name), self._filters.begin(name, table.plugin)
            waits = 0.0 if table.plugin.sampled else pause  # what only looks at this machine is in nobody's way
            self._collectors.start(name, partial(self._collect, name, table, part, previous, waits))
        keeping = partial(self._filters.keep, self.health)
        self._beside.start("filters", partial(guarded, keeping, "topics subscribed to"))

    async def end_collectors(self, names: Iterable[str]) -> None:
        """End collectors. What they have not acknowledged stays at their far side."""
        names = list(names)
        await self._beside.end(["filters"])
        await self._collectors.end(names, within=ENDING)
        for name in names:
            del self.collecting[name]
            self._filters.end(name)
            self.health.forget("collector", name)

    async def _collect(
        self, name: str, table: CollectorTable, part: Part, previous: tuple[str, ...], pause: float
    ) -> None:
        if pause:
            part.beat(pause + FIRST_ATTEMPT)
            await asyncio.sleep(pause)
        context = Context(
            name=name,
            hostname=self.config.agent.hostname,
            instance=self.spool.instance,
            stats=self.stats,
            part=part,
            redeliveries=_Redeliveries(self.spool, name),
            previous=previous,
        )

        async def begin() -> None:
            # What it has handed over before must be known again, should it come again.
            while not await self.spool.recall(name):
                part.become("down", "what it has handed over before is still to be stored")
                part.beat(FIRST_ATTEMPT)
                await asyncio.sleep(STORE_AGAIN)
            await table.plugin.run(self.intake.emitter(name, table.tags), context)

        await keep_running(part, begin, self._rng)

    # All of it.

    async def end_intake(self) -> None:
        """Nothing new comes in any more."""
        await self._beside.end_all()
        await self._collectors.end_all()

    async def end_delivery(self) -> None:
        """Nothing goes out any more."""
        await self._sinks.end_all()


def readers(sinks: Mapping[str, SinkTable]) -> list[Reader]:
    """The readers that sinks are to the spool."""
    return [
        Reader(name, table.selection.lane, table.delivery.start, table.delivery.on_full, table.delivery.was)
        for name, table in sinks.items()
    ]
