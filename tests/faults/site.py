"""A whole site gets its power back, and its broker later: agents that are whole, in simulated time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
from e2e.scene import AGENT, DATASET, mqtt_collector, obsrv_sink, spool
from e2e.simulated import Fed, World, simulate

from agent.config import CollectorTable, load
from agent.ports import Context, Emit
from agent.record import Emission, Stream
from agent.sandbox import obsrv
from faults.away import HOUR, heard, until
from faults.crowd import Shape, shape
from faults.plant import Plant

GONE = 600.0  # seconds without a broker


def a_site_comes_back(folder: Path, rng: Random, count: int, *, width: float) -> dict[str, Shape]:
    """
    So many agents start at once on machines that have just booted, each with a record to send; then their broker goes
    and returns. When they come to the cloud and to the broker, in bins of `width` seconds.
    """
    found: dict[str, Shape] = {}

    async def main(world: World) -> None:
        plant = Plant(forgets=True)
        await plant.open()
        async with obsrv.Sandbox.open([obsrv.Dataset(id=DATASET)]) as lake, AsyncExitStack() as stack:
            file = folder / "agent.toml"
            file.write_text(AGENT + spool(durability="none") + mqtt_collector(plant.url) + obsrv_sink(lake.url))
            config = load([file], {})
            clock, began, at = asyncio.get_running_loop().time, asyncio.get_running_loop().time(), time.time()
            configs = []
            for n in range(count):
                state = folder / f"state-{n:04d}"
                state.mkdir()
                (state / "boot").write_text(f"{rng.getrandbits(128):032x}\n")  # of before the cut
                configs.append(
                    replace(
                        config,
                        spool=replace(config.spool, directory=state, max_bytes=1 << 20),
                        collectors={**config.collectors, "self": CollectorTable("fed", Fed(work=_once), {})},
                    )
                )
            agents = [world.agent(each) for each in configs]
            await asyncio.gather(*(stack.enter_async_context(each) for each in agents))
            await until(lambda: len(plant.connects) >= count, "all to come to the broker", HOUR)
            await until(lambda: len(lake.stored(DATASET)) >= count, "all to come to the cloud", HOUR)
            found["power back, at the broker"] = shape(plant.connects, began, width=width)
            found["power back, at the cloud"] = shape([each.at for each in lake.requests], at, width=width)
            plant.close()
            plant.connects.clear()
            await asyncio.sleep(GONE)
            await plant.open()
            back = clock()
            await until(lambda: len(plant.connects) >= count, "all to be at the broker again", HOUR)
            found["broker back"] = shape(plant.connects, back, width=width)
        plant.close()

    with heard(), _just_booted():
        simulate(main, grain=0.05)
    return found


async def _once(emit: Emit, context: Context) -> None:
    """One record, as soon as it can be."""
    context.part.become("up")
    stream = Stream("plant.oven", {"host": "edge"})
    await emit(Emission(context.name, [stream], [orjson.dumps({"v": 1})], time.time_ns() // 1_000_000))


@contextmanager
def _just_booted() -> Iterator[None]:
    """The clock since boot shows a minute when this begins."""
    clock = time.clock_gettime_ns
    boot = clock(time.CLOCK_BOOTTIME) - 60_000_000_000
    time.clock_gettime_ns = lambda which: clock(which) - (boot if which == time.CLOCK_BOOTTIME else 0)
    try:
        yield
    finally:
        time.clock_gettime_ns = clock
