"""A real intake over a real spool, with rules; and what stands in its lanes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.events.memory import Memory
from agent.events.rule import Rule
from agent.events.watch import Watch
from agent.intake import Intake, has_other_heads, told_since
from agent.options import Selection
from agent.record import Emission, Parsed, Stream
from agent.spool import Gap, Reader, Settings, Spool
from agent.stats import Health, Stats

NOW = 1_795_000_000_000
MINUTE = 60_000
EVERYTHING = Selection()
EVENTS = Selection(select=("event.*",))
TAGS = {"host": "edge-1", "site": "seoul"}


@dataclass
class Site:
    """What a test speaks to."""

    intake: Intake
    spool: Spool
    watch: Watch
    memory: Memory
    stats: Stats

    async def sample(
        self, fields: object, source: str = "mqtt.plant", at: int = NOW, *, received: int | None = None, **tags: str
    ) -> None:
        """One record, durable; `at` is its own time, and that of its arrival unless `received` says otherwise."""
        payload = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        parse = (lambda given: [Parsed(given, at)]) if received is not None else None
        emission = Emission("plant", [Stream(source, tags, parse)], [payload], at if received is None else received)
        await self.intake.emitter("plant")(emission)

    async def series(self, *values: float, start: int = NOW, **options: Any) -> None:
        """Values of the field `t`, a minute apart."""
        for n, value in enumerate(values):
            await self.sample({"t": value}, at=start + n * MINUTE, **options)

    async def stored(self, lane: str = EVENTS.lane) -> list[dict[str, Any]]:
        """Every record of a lane, as a sink would read it."""
        found: list[dict[str, Any]] = []
        at = 0
        while (run := await self.spool.lanes[lane].read(at, 500, 1 << 20)) is not None:
            assert not isinstance(run, Gap)
            found += [json.loads(record) for record in run.records()]
            at = run.end
        return found

    async def states(self, lane: str = EVENTS.lane) -> list[str]:
        """The states that events tell, in their order."""
        return [event["fields"]["state"] for event in await self.stored(lane)]

    def count(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in self.stats.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def rule(when: str = "mqtt.plant.t > 90", **options: Any) -> Rule:
    """A rule as agent.toml would give it; `options` by the names of the dataclass."""
    made = Rule(**{"name": "hot", "when": when, **options})
    assert made.problems() == []
    return made


@asynccontextmanager
async def site(
    folder: Path,
    *rules: Rule,
    selections: Sequence[Selection] = (EVERYTHING, EVENTS),
    max_record: int = 256 * 1024,
    most: int = 10_000,
    tags: Mapping[str, str] = TAGS,
) -> AsyncIterator[Site]:
    """An agent's middle: the spool, intake with those rules, and the memory, which is written at the end."""
    stats = Stats()
    settings = Settings(directory=folder, max_bytes=8 << 20, min_free_bytes=0)
    readers = [Reader(f"sink{n}", selection.lane) for n, selection in enumerate(selections)]
    part = Health().part("spool", "writer")
    async with Spool.open(settings, readers, version="test", part=part, stats=stats) as spool:
        memory = await Memory.load(folder)
        heads = memory.former("heads", dict[str, int]) or {}
        lately = await told_since(spool, heads)
        watch = Watch(rules, memory, stats=stats, fixed=tags, lately=lately, most=most)
        intake = Intake(spool, selections, tags, max_record=max_record, stats=stats, watch=watch)
        memory.keep("heads", intake.heads)
        if has_other_heads(heads, intake.heads()):
            memory.changed()
        await memory.settle()
        keeping = asyncio.create_task(memory.run())
        try:
            yield Site(intake, spool, watch, memory, stats)
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])
        assert await memory.save()
