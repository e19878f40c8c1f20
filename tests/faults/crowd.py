"""
A thousand agents and the one far side they all send to, in simulated time.

Each is a `Delivery` with cursors, plans and bodies of its own, as the supervisor would run it: backoff, breaker, loop
and files are the agent's. Some share a spool, because what they send is not what is asked here. The far side is
called and not connected to: it counts, takes a while, and refuses as it is told.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from cmath import rect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import tau
from pathlib import Path
from random import Random
from typing import ClassVar

from delivery.virtual import busy_while

from agent.delivery import Bodies, Delivery
from agent.options import DeliveryOptions
from agent.ports import Limits, Parcel, Send
from agent.record import Run
from agent.spool import Part, Reader, Settings, Spool
from agent.stats import Health, Stats
from agent.supervisor import keep_running

CROWD = 1000  # agents
A_SPOOL = 125  # agents
ANSWER = 0.1  # seconds that the far side takes for a batch
RECORDS = 2  # in a batch
SMOOTH = 20  # bins
PERIODS = (5, 120)  # seconds: no two tries of one agent are further apart


@dataclass
class FarSide:
    """What all of them send to."""

    trouble: Callable[[], Exception] | None = None  # instead of an answer
    tries: list[float] = field(default_factory=list)  # when they came, on the loop's clock
    stored: Counter[str] = field(default_factory=Counter)

    async def take(self, agent: str, parcel: Parcel) -> None:
        """One request."""
        self.tries.append(asyncio.get_running_loop().time())
        if self.trouble is not None:
            raise self.trouble()
        await asyncio.sleep(ANSWER)
        self.stored.update(f"{agent}/{record['fields']['n']}" for record in json.loads(b"[%b]" % parcel.body))


@dataclass(frozen=True)
class Line:
    """The sink of one agent."""

    kind: ClassVar[str] = "line"
    agent: str
    far: FarSide
    limits: ClassVar[Limits] = Limits(records=RECORDS, in_flight=1)

    def encode(self, run: Run) -> bytes:
        return run.body

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        async def send(parcel: Parcel) -> None:
            await self.far.take(self.agent, parcel)

        yield send


@dataclass(frozen=True)
class Crowd:
    """The agents, not running yet."""

    deliveries: list[Delivery]
    health: Health
    ids: list[str]  # of every record that the far side is to get

    def queued(self) -> int:
        """How many records wait, over all."""
        return sum(delivery.queued() for delivery in self.deliveries)

    @asynccontextmanager
    async def running(self, rng: Random) -> AsyncIterator[None]:
        """All of them at work, begun at the same moment."""
        tasks = [
            asyncio.create_task(
                keep_running(self.health.part("sink", each.name), each.run, Random(rng.random())), name=each.name
            )
            for each in self.deliveries
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def crowd(folder: Path, count: int, far: FarSide, rng: Random, *, batches: int) -> AsyncIterator[Crowd]:
    """So many agents, each with a backlog of so many batches on disk."""
    stats, health = Stats(), Health()
    deliveries: list[Delivery] = []
    spools: list[Spool] = []
    async with AsyncExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        busy_while(lambda: any(spool.pending_bytes for spool in spools))
        for first in range(0, count, A_SPOOL):
            names = [f"a{n:04d}" for n in range(first, min(first + A_SPOOL, count))]
            settings = Settings(
                directory=folder / f"state-{first}", durability="none", max_bytes=16 << 20, min_free_bytes=0
            )
            part = health.part("spool", f"{first}")
            opening = Spool.open(settings, [Reader(name, "all") for name in names], version="1", part=part, stats=stats)
            spool = await stack.enter_async_context(opening)
            spools.append(spool)
            now = time.time_ns() // 1_000_000
            await spool.append([Part("all", "plant", [_record(n, now) for n in range(batches * RECORDS)], now)])
            deliveries += [
                Delivery(
                    name,
                    Line(name, far),
                    spool.cursors(name),
                    options=DeliveryOptions(),
                    spool=spool,
                    stats=stats,
                    part=health.part("sink", name),
                    rng=Random(rng.random()),
                    bodies=Bodies(),
                    pool=pool,
                )
                for name in names
            ]
        ids = [f"{delivery.name}/{n}" for delivery in deliveries for n in range(batches * RECORDS)]
        yield Crowd(deliveries, health, ids)


def _record(n: int, ts_ms: int) -> bytes:
    return b'{"ts":%d,"source":"mqtt.plant","tags":{},"fields":{"n":%d}}' % (ts_ms, n)


@dataclass(frozen=True, slots=True)
class Shape:
    """How requests lie in time."""

    requests: int
    seconds: float
    width: float  # seconds of a bin
    peak: int  # most in one bin
    waves: float  # 0: none; 1: nothing but waves

    @property
    def mean(self) -> float:
        """In a bin."""
        return self.requests * self.width / self.seconds

    @property
    def ratio(self) -> float:
        """Peak to mean."""
        return self.peak / self.mean

    def __str__(self) -> str:
        return (
            f"{self.requests} in {self.seconds:.0f} s, at most {self.peak} within {self.width:g} s where the mean is "
            f"{self.mean:.1f}: {self.ratio:.2f} times; waves {self.waves:.2f}"
        )


def shape(times: Sequence[float], since: float, until: float | None = None, *, width: float) -> Shape:
    """
    Of the requests from `since` on, to the last one or up to `until`.

    Waves are what comes back: with an end given, how far the requests agree on any period of time; without one, how far
    their number rose again, smoothed, after it had begun to fall.
    """
    found = [at - since for at in times if since <= at < (math.inf if until is None else until)]
    assert found, "nobody came"
    seconds = max(found) if until is None else until - since
    bins = [0] * (math.ceil(seconds / width) + 1)
    for at in found:
        bins[int(at / width)] += 1
    return Shape(len(found), seconds, width, max(bins), _swell(bins) if until is None else _beat(found, seconds))


def _swell(bins: list[int]) -> float:
    """The largest rise of the smoothed series behind its top, as a part of that."""
    reach = min(SMOOTH, len(bins))
    smooth = [sum(bins[at : at + reach]) for at in range(len(bins) - reach + 1)]
    low, rise = max(smooth), 0
    for each in smooth[smooth.index(low) :]:
        low = min(low, each)
        rise = max(rise, each - low)
    return rise / max(smooth)


def _beat(times: list[float], seconds: float) -> float:
    """How far the times agree modulo a period, for the period on which they agree most; at least two of it fit in."""
    periods = range(PERIODS[0], min(PERIODS[1], int(seconds / 2)) + 1)
    return max(abs(sum(rect(1.0, tau * at / period) for at in times)) / len(times) for period in periods)
