"""A fleet that is restarted as one: each agent is whole, with files and connections of its own, in simulated time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from clouds import TENANT, notes_sink, opened
from scene import AGENT, say, spool
from simulated import World, fed, idle, simulate
from structlog.testing import capture_logs

from agent.config import Config, load
from agent.spool import audit

JITTER = 300.0  # seconds: the default of lifecycle_jitter
TENANT_LIMIT = 1000  # requests a minute, for a fleet of as many agents


@pytest.mark.parametrize(
    "count",
    [
        60,
        pytest.param(100, marks=pytest.mark.soak),
        pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
    ],
)
def test_a_restart_of_all_agents_together_keeps_to_the_tenants_limit_and_loses_no_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    limit = TENANT_LIMIT * count // 1000  # a tenth of the fleet, a tenth of the limit

    def one(config: Config, n: int, jitter: float) -> Config:
        return replace(
            config,
            agent=replace(config.agent, hostname=f"edge-{n:04d}", lifecycle_jitter=jitter),
            spool=replace(config.spool, directory=tmp_path / f"state-{n:04d}"),
        )

    async def main(world: World) -> None:
        async with opened(notes={"rate": limit}) as far:
            file = tmp_path / "agent.toml"
            file.write_text(
                AGENT
                + 'lifecycle_events = ["start", "stop"]\n[collectors.self]\ntype = "self"\n'
                + spool(durability="none", max_bytes="1MiB")
                + notes_sink(far.notes.identity_url, tmp_path)
            )
            config = fed(load([file], {}), idle=idle)

            async def live(life: Config, until: asyncio.Event) -> None:
                async with world.agent(life):
                    await until.wait()

            async def lives(events: int, jitter: float = JITTER) -> float:
                """All start together, and stop together once so many events are stored; how long that took."""
                end, began = asyncio.Event(), time.time()
                async with asyncio.TaskGroup() as group:
                    for n in range(count):
                        group.create_task(live(one(config, n, jitter), end))
                    async with asyncio.timeout(10 * JITTER):
                        while len(far.notes.events()) < events:
                            await asyncio.sleep(1)  # of the simulated clock, until the condition holds
                    took = time.time() - began
                    end.set()
                return took

            await lives(count, JITTER / 2)
            restarted = time.time()
            took = await lives(3 * count)
            told = Counter((event.tags, event.when) for event in far.notes.events(TENANT))
            assert max(told.values()) == 1
            states = Counter(event.tags for event in far.notes.events(TENANT))
            assert states == {
                f"edge-{n:04d} {state}": 1 + (state == "started")
                for n in range(count)
                for state in ("started", "stopped")
            }
            assert Counter(request.status for request in far.notes.requests) == {200: 3 * count}
            busiest = far.notes.busiest(TENANT)
            assert busiest <= limit
            after = [event.at - restarted for event in far.notes.events(TENANT) if event.at >= restarted]
            say(
                capsys,
                f"{count} agents restarted together: {len(after)} events in {took:.0f} s, at most {busiest} a minute "
                f"where {limit} are allowed",
            )
            assert JITTER / 2 <= max(after) <= JITTER + 60

    with capture_logs():
        simulate(main, grain=0.5)
    for n in range(count):
        report = audit(tmp_path / f"state-{n:04d}")
        assert report.balanced, report.findings
