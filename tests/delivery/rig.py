"""A real spool in a directory, and deliveries over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import orjson
from structlog.testing import capture_logs
from virtual import busy_while

from agent.delivery import Bodies, Delivery, Tell
from agent.options import DeliveryOptions
from agent.ports import Sink
from agent.spool import Part, Reader, Settings, Spool
from agent.stats import Health, Stats

__all__ = ["Rig", "Wall", "capture_logs", "rig"]


def record(n: int, ts: int = 1_764_600_000_000, pad: int = 0) -> bytes:
    return b'{"ts":%d,"source":"mqtt.plant","tags":{},"fields":{"n":%d,"pad":"%b"}}' % (ts, n, b"x" * pad)


class Wall:
    """A wall clock that goes with the loop's time, skipped time and all, and can be set."""

    def __init__(self, spool: Spool, at: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead = at - self._loop.time()
        clock = spool.lanes["dead"]._clock  # one for all lanes
        clock._wall, clock._boottime = self.now_ms, lambda: int(self._loop.time() * 1000)
        clock._distance = clock._wall() - clock._boottime()

    @property
    def now(self) -> float:
        return self._loop.time() + self._ahead

    def at(self, time: float) -> float:
        """What it shows when the loop's time is that."""
        return time + self._ahead

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._ahead += seconds


class Rig:
    """One spool, any number of sinks, all that the supervisor would hold."""

    def __init__(self, spool: Spool, directory: Path, pool: ThreadPoolExecutor, stats: Stats, bodies: Bodies) -> None:
        self.spool = spool
        self.directory = directory
        self.stats = stats
        self.health = Health()
        self.bodies = bodies
        self._pool = pool
        self.wall: Wall | None = None  # None: that of the machine

    def clock(self, at: float) -> Wall:
        """From now on the wall clock goes with the loop's time, and begins there."""
        self.wall = Wall(self.spool, at)
        return self.wall

    async def put(self, numbers: Sequence[int], *, lane: str = "all", age: float = 0.0, pad: int = 0) -> None:
        """Records with these numbers, durable when this returns."""
        now = int(((self.wall.now if self.wall else time.time()) - age) * 1000)
        await self.spool.append([Part(lane, "plant", [record(n, now, pad) for n in numbers], now)])

    def delivery(
        self, sink: Sink, name: str = "lake", seed: int = 1, tell: Tell | None = None, **options: Any
    ) -> Delivery:
        return Delivery(
            name,
            sink,
            self.spool.cursors(name),
            options=DeliveryOptions(**options),
            spool=self.spool,
            stats=self.stats,
            part=self.health.part("sink", name),
            rng=Random(seed),
            bodies=self.bodies,
            pool=self._pool,
            tell=tell,
        )

    @asynccontextmanager
    async def running(self, delivery: Delivery) -> AsyncIterator[None]:
        task = asyncio.create_task(delivery.run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def value(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in self.stats.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters in the files."""
        return [
            orjson.loads(line)
            for path in sorted((self.directory / "dead-letters").glob("*.ndjson"))
            for line in path.read_bytes().splitlines()
        ]


@asynccontextmanager
async def rig(
    directory: Path,
    *,
    sinks: Sequence[Reader] = (Reader("lake", "all"),),
    bodies: Bodies | None = None,
    change: Callable[[dict[str, Any]], None] = lambda settings: None,
) -> AsyncIterator[Rig]:
    settings: dict[str, Any] = {
        "directory": directory,
        "durability": "none",
        "max_bytes": 64 << 20,
        "min_free_bytes": 0,
    }
    change(settings)
    stats = Stats()
    part = Health().part("spool", "writer")
    with ThreadPoolExecutor(2) as pool:
        async with Spool.open(Settings(**settings), sinks, version="1", part=part, stats=stats) as spool:
            busy_while(lambda: spool.pending_bytes > 0)
            yield Rig(spool, directory, pool, stats, bodies or Bodies())
