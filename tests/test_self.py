"""The agent's own counters as records."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping

from agent.collectors.self import Self, gathered
from agent.ports import Context
from agent.record import Emission
from agent.stats import Part, Stats

PATIENCE = 15.0


class NoRedeliveries:
    def unacked(self) -> Mapping[int, int]:
        return {}

    def checkpoint(self) -> object:
        return None

    def confirm(self, checkpoint: object) -> None:
        pass


async def collect(stats: Stats, count: int, *, options: Self, between=lambda: None) -> list[Emission]:
    """The first emissions of a running collector; `between` is called after each."""
    emissions: asyncio.Queue[Emission] = asyncio.Queue()

    def emit(emission: Emission) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        emissions.put_nowait(emission)
        between()
        return future

    part = Part("collector", "me")
    context = Context("me", "here", "0" * 16, stats, part, NoRedeliveries())
    task = asyncio.create_task(options.run(emit, context))
    try:
        async with asyncio.timeout(PATIENCE):
            taken = [await emissions.get() for _ in range(count)]
        assert part.state == "up"
        assert part.due > time.monotonic()
        return taken
    finally:
        task.cancel()
        await asyncio.wait([task])


def records(emission: Emission) -> dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, float]]:
    return {
        (stream.source, tuple(sorted(stream.tags.items()))): json.loads(payload)
        for stream, payload in zip(emission.streams, emission.payloads, strict=True)
    }


def test_counters_and_gauges_become_records_by_part_and_labels():
    stats = Stats()
    stats.counter("agent_spool_frames_total", "Frames.", lane="all").add(3)
    stats.counter("agent_spool_bytes_total", "Bytes.", lane="all").add(2**60)
    stats.counter("agent_spool_frames_total", "Frames.", lane="few").add(1)
    stats.gauge("agent_delivery_lag_seconds", "Lag.", lambda: 0.25, sink="lake")
    (emission,) = asyncio.run(collect(stats, 1, options=Self()))
    found = records(emission)
    assert emission.origin == "me"
    assert abs(emission.received_ms - time.time() * 1000) < PATIENCE * 1000
    assert found[("self.spool", (("lane", "all"),))] == {"frames_total": 3, "bytes_total": 2**60}
    assert found[("self.spool", (("lane", "few"),))] == {"frames_total": 1}
    assert found[("self.delivery", (("sink", "lake"),))] == {"lag_seconds": 0.25}
    assert found[("self.collector", (("collector", "me"),))] == {"missed_ticks_total": 0}


def test_each_tick_shows_the_values_of_its_moment_under_the_same_streams():
    stats = Stats()
    counter = stats.counter("agent_intake_records_total", "Records.")
    counter.add(1)
    first, second = asyncio.run(collect(stats, 2, options=Self(interval=0.02), between=counter.add))
    assert records(first)[("self.intake", ())] == {"records_total": 1}
    assert records(second)[("self.intake", ())] == {"records_total": 2}
    assert all(one is other for one, other in zip(first.streams, second.streams, strict=True))


def test_counts_stay_integers_and_what_is_no_number_is_left_out():
    stats = Stats()
    stats.counter("agent_a_count_total", "Count.").add(7)
    stats.gauge("agent_a_age", "Age.", lambda: math.inf)
    stats.gauge("agent_a_ratio", "Ratio.", lambda: math.nan)
    (fields,) = gathered(stats.samples()).values()
    assert fields == {"count_total": 7}
    assert type(fields["count_total"]) is int


def test_a_name_of_one_word_belongs_to_the_agent():
    stats = Stats()
    stats.gauge("agent_info", "The version.", lambda: 1, version="0.1")
    assert gathered(stats.samples()) == {("self.agent", (("version", "0.1"),)): {"info": 1}}
