"""
Whole agents in simulated time: files, sockets, threads and every line of the agent are real, the clocks are not.

The loop skips the time in which nothing would happen (tests/delivery/virtual.py), and here wall clock and boot clock
go with it, for the agent and for the stand-ins that run on the same loop. No time is skipped while a thread is at work,
so that a disk is as fast as ever.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from delivery.virtual import SkippingSelector, VirtualLoop

from agent import aside, supervisor
from agent.config import CollectorTable, Config
from agent.ports import Context, Emit
from agent.spool import Spool
from agent.supervisor import Life, Running

T = TypeVar("T")


# Both ends of each socket are on the one loop: what was sent is there at once, or all but at once.
UNDER_WAY = 0.0001
# What the loop's own time is made of, whatever `time.monotonic` is told to say.
_monotonic = time.monotonic
# A thread may end a moment after it has said so: whoever waits for it looks again so soon.
GLANCE = 0.002


class ImpatientSelector(SkippingSelector):
    """Skips whatever is waited for, unless a socket has something or a thread is at work; `grain` at least."""

    grain = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return selectors.DefaultSelector.select(self, timeout)
        if self.at_work or self.busy():
            return selectors.DefaultSelector.select(self, min(timeout, GLANCE))
        for pause in (0.0, UNDER_WAY):
            time.sleep(pause)
            if events := selectors.DefaultSelector.select(self, 0):
                return events
        self.skipped += max(timeout, self.grain)
        return []


class SimulatedLoop(VirtualLoop):
    """A loop in whose time nothing is waited for in vain."""

    skipping: ImpatientSelector

    def __init__(self) -> None:
        self.skipping = ImpatientSelector()
        asyncio.SelectorEventLoop.__init__(self, self.skipping)

    def time(self) -> float:
        return _monotonic() + self.skipping.skipped


class World:
    """The clocks of one simulation, and the agents in it."""

    def __init__(self, loop: SimulatedLoop, grain: float) -> None:
        self._skipping = loop.skipping
        self._skipping.grain = grain
        self._samples = False
        self._spools: list[Spool] = []
        loop.skipping.busy = self._is_busy

    def _is_busy(self) -> bool:
        # The loop knows nothing of these threads: of those that write a spool, and of those that end with one call.
        return (
            bool(aside._under_way)
            or any(spool.pending_bytes for spool in self._spools)
            or (self._samples and any(thread.name == "host-metrics" for thread in threading.enumerate()))
        )

    @property
    def skipped(self) -> float:
        """Seconds by which all clocks are ahead of the real ones."""
        return self._skipping.skipped

    async def jump(self, seconds: float) -> None:
        """All clocks go on by so much at once, as when a machine was suspended."""
        while self._is_busy() or self._skipping.at_work:
            await asyncio.sleep(0)  # a thread that reads two clocks is to find them together
        self._skipping.skipped += seconds

    @asynccontextmanager
    async def agent(self, config: Config, *, life: Life = "start") -> AsyncIterator[Running]:
        """A running agent, which is asked to stop at the end."""
        self._samples |= any(table.kind == "host" for table in config.collectors.values())
        stop, running = asyncio.Event(), asyncio.get_running_loop().create_future()

        @asynccontextmanager
        async def beside(started: Running) -> AsyncIterator[None]:
            self._spools.append(started.spool)
            running.set_result(started)
            yield
            self._spools.remove(started.spool)

        task = asyncio.create_task(supervisor.run(config, stop, beside, life=life))
        try:
            await asyncio.wait({task, running}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield running.result()
        finally:
            stop.set()
            await task


@contextmanager
def _clocks(loop: SimulatedLoop) -> Iterator[None]:
    """`time` tells the simulation's time as long as the block lasts."""
    seconds, nanoseconds, clock = time.time, time.time_ns, time.clock_gettime_ns

    def ahead() -> int:
        return int(loop.skipping.skipped * 1_000_000_000)

    time.time = lambda: seconds() + loop.skipping.skipped
    time.time_ns = lambda: nanoseconds() + ahead()
    time.clock_gettime_ns = lambda which: clock(which) + ahead()
    time.monotonic = lambda: _monotonic() + loop.skipping.skipped
    try:
        yield
    finally:
        time.time, time.time_ns, time.clock_gettime_ns, time.monotonic = seconds, nanoseconds, clock, _monotonic


def simulate(main: Callable[[World], Coroutine[Any, Any, T]], *, grain: float = 0.0) -> T:
    """
    Run it in a world of its own.

    `grain`: no less than so many seconds are skipped at a time, and timers are late by as much: for worlds of many.
    """
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)
        with _clocks(loop):
            return runner.run(main(World(loop, grain)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """A collector that does what the test says."""

    sampled: ClassVar[bool] = True

    work: Callable[[Emit, Context], Awaitable[None]]

    async def run(self, emit: Emit, context: Context) -> None:
        """Until cancelled."""
        await self.work(emit, context)
        await asyncio.Event().wait()


async def idle(emit: Emit, context: Context) -> None:
    """What a collector does that has nothing to say."""
    context.part.become("up")


def fed(config: Config, **work: Callable[[Emit, Context], Awaitable[None]]) -> Config:
    """The configuration with these collectors in place of its own."""
    return replace(config, collectors={name: CollectorTable("fed", Fed(work=each), {}) for name, each in work.items()})
