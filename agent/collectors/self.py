"""
The collector of kind `self`: the agent's own counters and gauges as records.

`agent_spool_frames_total{lane="all"}` becomes the field `frames_total` of a record of the source
`self.spool` with the tag lane; what has the same part and labels shares a record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import orjson

from agent.ports import Context, Emit
from agent.record import Emission, Stream
from agent.schema import Duration, option
from agent.stats import Sample
from agent.timing import next_tick

PREFIX = "agent_"
SLACK = 60.0  # the watchdog minds a tick that is this late

Key = tuple[str, tuple[tuple[str, str], ...]]  # source, labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """The agent's own counters as records."""

    sampled: ClassVar[bool] = True

    interval: Duration = option("Time between samples.", 60.0, low=1.0)

    async def run(self, emit: Emit, context: Context) -> None:
        """Emit all counters and gauges at every tick until cancelled, the first time at once."""
        clock = asyncio.get_running_loop().time
        streams: dict[Key, Stream] = {}
        missed = context.stats.counter(
            "agent_collector_missed_ticks_total",
            "Ticks at which nothing was sampled: the last one was still at work, or its records not yet durable.",
            collector=context.name,
        )
        # A fleet that was started at once does not send in step.
        start, last = clock() + Random().uniform(0, self.interval), -1
        while True:
            rows = gathered(context.stats.samples())
            streams = {key: streams.get(key) or Stream(key[0], dict(key[1])) for key in rows}
            context.part.become("up")
            context.part.beat(self.interval + SLACK)
            payloads = [orjson.dumps(fields) for fields in rows.values()]
            if payloads:
                future = emit(Emission(context.name, list(streams.values()), payloads, time.time_ns() // 1_000_000))
                # This may take as long as the disk is full, and the watchdog is to see that the loop lives.
                while not future.done():
                    await asyncio.wait([future], timeout=self.interval)
                    context.part.beat(self.interval + SLACK)
                future.result()
            tick, n = next_tick(self.interval, start, clock())
            missed.add(n - last - 1)
            last = n
            await asyncio.sleep(tick - clock())


def gathered(samples: Iterable[Sample]) -> dict[Key, dict[str, float]]:
    """The fields of each record to be, by its source and labels. What is no number at the moment is left out."""
    rows: dict[Key, dict[str, float]] = {}
    for sample in samples:
        if sample.value - sample.value != 0:  # infinite or NaN: JSON has no word for it
            continue
        part, underscore, rest = sample.name.removeprefix(PREFIX).partition("_")
        source, field = (f"self.{part}", rest) if underscore else ("self.agent", part)
        rows.setdefault((source, tuple(sorted(sample.labels.items()))), {})[field] = sample.value
    return rows
