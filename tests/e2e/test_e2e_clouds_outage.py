"""One cloud is away for twenty minutes of simulated time: the others do not notice, one report tells all of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from clouds import TENANT, audited, cw_key, opened, schema, schema_table
from scene import AGENT, DATASET, spool
from simulated import World, simulate
from structlog.testing import capture_logs

from agent.config import load
from agent.sandbox.ncloud import troubles
from agent.supervisor import Running

FIELDS = {"cpu": "usage_active", "mem": "used_percent", "load": "load1", "system": "uptime", "processes": "total"}
GROUPS = list(FIELDS)
A_MINUTE = len(GROUPS) * 6  # records, sampled every 10 s
MINUTE = 60_000
OWN = f"""
{AGENT}
lifecycle_events = ["outage"]
[collectors.host]
type = "host"
interval = "10s"
per_cpu = false
groups = {GROUPS}
"""


def most_in_a_minute(times: Sequence[int]) -> int:
    """The most of these (ms, sorted) within any minute but its last second: an agent's own minute trembles a little."""
    return max(sum(at <= each < at + MINUTE - 1000 for each in times) for at in times)


async def watched(agent: Running, seconds: float) -> Counter[str]:
    """The most that waited for each sink within that time, in records."""
    most: Counter[str] = Counter()
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while clock() < until:
        for name, delivery in agent.deliveries.items():
            most[name] = max(most[name], delivery.queued())
        await asyncio.sleep(5)  # of the simulated clock, between two looks
    return most


def ms(text: str) -> int:
    """A time of the log."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_five_schemas_need_five_requests_a_minute_and_twenty_minutes_away_are_one_gap(tmp_path: Path) -> None:
    async def main(world: World) -> None:
        # This far side believes the rows' own times, so that it can be seen which minutes it has.
        async with opened(schemas=[schema(n) for n in range(5)], insight={"honours_timestamp": True}) as far:
            tables = [schema_table(n, v=f'"host.{group}.{FIELDS[group]}"') for n, group in enumerate(GROUPS)]
            insight = 'timestamp = true\nselect = ["host.*"]'
            file = tmp_path / "agent.toml"
            file.write_text(
                OWN
                + spool(durability="none").replace("@STATE@", str(tmp_path / "state"))
                + far.sinks(tmp_path, rollup="1m", insight=insight, schemas="".join(tables))
            )
            requests = far.insight.requests
            async with world.agent(load([file], {})) as agent:
                await asyncio.sleep(5 * 60)
                healthy = len(requests)
                assert len(far.insight.stored(cw_key(4))) >= 4
                far.insight.faults.add(troubles.gateway("500"))
                waiting = await watched(agent, 20 * 60)
                away = len(requests) - healthy
                far.insight.faults.clear()
                await asyncio.sleep(12 * 60)
                assert most_in_a_minute([each.at for each in requests][:healthy]) <= 5
                assert away <= 20 * 5  # first often, then about every half a minute
                assert most_in_a_minute([each.at for each in requests][-20:]) <= 5
                assert len(requests) <= 37 * 5 + away
                # What is older than five minutes expires; the others had nothing to wait for.
                assert 5 * A_MINUTE <= waiting["insight"] <= 7 * A_MINUTE
                assert max(waiting["lake"], waiting["notes"]) <= 2 * len(GROUPS)
            books = {name: agent.spool.cursors(name)[-1].ledger for name in agent.deliveries}
            # The lake has whatever was sampled, once; what is missing is what no row tells of.
            sampled = [each.event for each in far.lake.stored(DATASET) if each.event["source"].startswith("host.")]
            assert len({(each["ts"], each["source"]) for each in sampled}) == len(sampled)
            told = {row.at // MINUTE for n in range(5) for row in far.insight.stored(cw_key(n))}
            missing = [each["ts"] for each in sampled if each["ts"] // MINUTE not in told]
            assert 14 * A_MINUTE <= len(missing) <= 17 * A_MINUTE
            assert len(sampled) == books["insight"].delivered + books["insight"].expired
            (gap,) = (line for line in logs if line["event"] == "records expired")
            assert (gap["sink"], gap["records"]) == ("insight", len(missing))
            assert (ms(gap["from"]), ms(gap["to"])) == (min(missing), max(missing))
            # The same as one event, at the cloud that is well.
            (event,) = (each for each in far.notes.events(TENANT) if each.tags == "edge gap")
            assert f"will never get {len(missing)} records" in (event.what or "")
            assert event.when == max(missing)
            assert books["insight"].expired == len(missing)
            for name in ("lake", "notes"):
                lost = books[name]
                assert (lost.expired, lost.evicted, lost.dead, lost.damaged) == (0, 0, 0, 0), name

    with capture_logs() as logs:
        simulate(main)
    audited(tmp_path / "agent.toml")
