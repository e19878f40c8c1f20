"""Runs a host collector as the agent does, and keeps what it emits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from agent.collectors.host import Host
from agent.ports import Context
from agent.record import Emission
from agent.stats import Part, Stats

OTHER = Path(__file__).parent.parent / "data" / "other-host"  # a machine recorded, unlike any that runs this
PATIENCE = 15.0


class NoRedeliveries:
    def unacked(self) -> Mapping[int, int]:
        return {}

    def checkpoint(self) -> object:
        return None

    def confirm(self, checkpoint: object) -> None:
        pass


class Taken:
    """What a running collector has emitted so far. While `durable` is false, nothing becomes durable."""

    def __init__(self) -> None:
        self.stats, self.part = Stats(), Part("collector", "machine")
        self.context = Context("machine", "here", "0" * 16, self.stats, self.part, NoRedeliveries())
        self.emissions: list[Emission] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.durable = True
        self._news = asyncio.Event()

    def emit(self, emission: Emission) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.durable:
            future.set_result(None)
        else:
            self.waiting.append(future)
        self.emissions.append(emission)
        self._news.set()
        return future

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a condition, looked at again with every emission."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def emission(self, number: int) -> Emission:
        """The emission of that number, from 0."""
        await self.until(lambda: len(self.emissions) > number)
        return self.emissions[number]

    def count(self, name: str) -> float:
        """The sum of a counter over its labels."""
        return sum(sample.value for sample in self.stats.samples() if sample.name == name)


@asynccontextmanager
async def running(host: Host, taken: Taken | None = None) -> AsyncIterator[Taken]:
    taken = taken or Taken()
    task = asyncio.create_task(host.run(taken.emit, taken.context))
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]


class Found(NamedTuple):
    source: str
    tags: dict[str, str]
    fields: dict[str, Any]


def found(emission: Emission, source: str = "") -> list[Found]:
    """The records of an emission, of one source or all."""
    every = [
        Found(stream.source, dict(stream.tags), json.loads(payload))
        for stream, payload in zip(emission.streams, emission.payloads, strict=True)
    ]
    return [record for record in every if source in ("", record.source)]


def only(emission: Emission, source: str) -> dict[str, Any]:
    """The fields of the one record of a source."""
    (record,) = found(emission, source)
    return record.fields


def take(host: Host, ticks: int = 1) -> Emission:
    """What a collector emits at its tick number `ticks`."""

    async def main() -> Emission:
        async with running(host) as taken:
            return await taken.emission(ticks - 1)

    return asyncio.run(main())
