"""A cloud for events is away for two days, while far more than the spool holds passes by to another one."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from clouds import TENANT, audited, notes_sink, opened
from scene import AGENT, obsrv_sink, say, spool
from simulated import World, fed, simulate
from structlog.testing import capture_logs

from agent.config import load
from agent.ports import Context, Emit
from agent.record import Emission, Stream
from agent.sandbox import faults

HOURS, EVENTS = 48, 500
RATE, CHUNK = 2000, 100  # records a second, and at once
PAD = 1000
TURNS = [n * HOURS // EVENTS for n in range(EVENTS)]  # the hour of each event

RULE = """
[[events]]
name = "hot"
when = "plant.oven.level > 90"
what = "turn {fields.turn}: {value}"
what_clear = "turn {fields.turn}: {value}"
[collectors.host]
type = "host"
"""


@pytest.mark.parametrize("mib", [2, pytest.param(64, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_after_two_days_away_all_of_500_events_arrive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mib: int
) -> None:
    bulk = 5 * mib * 1_048_576 // PAD // HOURS // CHUNK * CHUNK  # records an hour, five times what the spool holds

    async def main(world: World) -> None:
        stream = Stream("plant.oven", {"host": "edge"})
        sent = 0
        gone_by = asyncio.Event()

        async def work(emit: Emit, context: Context) -> None:
            """Each hour of two days its part of the bulk at 2,000/s, in which the oven is now hot, now cold."""
            nonlocal sent
            context.part.become("up")
            turn = 0
            for hour in range(HOURS):
                turns = TURNS.count(hour)
                for first in range(0, bulk, CHUNK):
                    payloads = []
                    for n in range(first, first + CHUNK):
                        if turns and n % (bulk // turns) == 0 and n // (bulk // turns) < turns:
                            turn += 1
                        fields = {"uid": f"m-{sent}", "turn": turn, "level": 95 if turn % 2 else 20, "pad": "x" * PAD}
                        payloads.append(orjson.dumps(fields))
                        sent += 1
                    now = time.time_ns() // 1_000_000
                    await emit(Emission(context.name, [stream] * CHUNK, payloads, now))
                    await asyncio.sleep(CHUNK / RATE)
                await world.jump(3600 - bulk / RATE)
            gone_by.set()

        async with opened() as far:
            far.notes.faults.add(faults.unavailable())
            file = tmp_path / "agent.toml"
            file.write_text(
                AGENT
                + RULE
                + spool(max_bytes=f"{mib}MiB", durability="none").replace("@STATE@", str(tmp_path / "state"))
                + obsrv_sink(far.lake.url)
                + notes_sink(far.notes.identity_url, tmp_path)
            )
            began = time.time()
            async with world.agent(fed(load([file], {}), oven=work)) as agent:
                await gone_by.wait()
                assert time.time() - began >= 2 * 86400
                assert agent.deliveries["notes"].queued() == EVENTS
                assert far.notes.events() == []
                far.notes.faults.clear()
                async with asyncio.timeout(3 * 3600):
                    while any(delivery.queued() for delivery in agent.deliveries.values()):
                        await asyncio.sleep(1)  # of the simulated clock, until the condition holds
            taken = Counter(event.what for event in far.notes.events(TENANT))
            assert taken == {f"turn {n}: {95 if n % 2 else 20}": 1 for n in range(1, EVENTS + 1)}
            books = {name: agent.spool.cursors(name)[-1].ledger for name in ("lake", "notes")}
            assert books["notes"].delivered == EVENTS
            assert (books["notes"].evicted, books["lake"].evicted) == (0, 0)
            stored = far.lake_uids()
            assert len(stored) == sent == stored.total()
            say(capsys, f"{sent * PAD >> 20} MiB through a spool of {mib} MiB in 48 h; {EVENTS} events waited")

    with capture_logs():
        simulate(main)
    audited(tmp_path / "agent.toml")
