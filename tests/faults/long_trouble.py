"""A day on which everything is down and garbage comes in, in simulated time: little is said, and all of it is true."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

from e2e.clouds import opened, schema
from e2e.scene import mqtt_collector
from e2e.simulated import World, simulate

from agent.config import load
from agent.spool import audit
from agent.supervisor import Running
from faults.away import ENDS, HOUR, LINES, SINKS, Away, config, heard, ill_said, uids, until
from faults.plant import Plant
from faults.rows import fault
from faults.stage import Stage
from faults.verdict import LOSSES, Outcome, compared

THIN = 120.0  # seconds between two records that are in order
RATE = 100  # garbage payloads a second
DEAD = 64 << 20  # bytes of dead letters, as shipped


@fault("day-of-trouble")
def day_of_trouble(stage: Stage) -> None:
    """
    Everything down, a broker that comes and goes, and garbage.

    The quick form has two hours, one payload in a hundred, and as little room for dead letters.
    """
    hours, rate, room = (2, RATE / 100, DEAD // 200) if stage.is_quick else (24, float(RATE), DEAD)
    folder, rng, outcome = stage.place(), stage.rng, stage.outcome
    outcome.trials += 1
    good: list[str] = []
    garbage, end = 0, 0.0

    async def main(world: World) -> None:
        nonlocal garbage, end
        plant = Plant()
        async with opened(schemas=[schema(0)], insight={"honours_timestamp": True}) as far:
            await plant.open()
            file = folder / "agent.toml"
            collector = mqtt_collector(plant.url, "t/#")
            file.write_text(
                config(far, folder, "mqtt.plant", collectors=collector, spool=f'dead_max_bytes = "{room}B"\n')
            )
            away = Away(far)
            async with world.agent(load([file], {})) as agent:
                away.begin()
                end = time.time() + hours * HOUR
                flapping = asyncio.create_task(_flap(plant, rng))
                every = 1.0 if not stage.is_quick else 60.0
                while time.time() < end:
                    burst = round(rate * every)
                    plant.put([b'{"uid":"g-%d", broken' % n for n in range(garbage, garbage + burst)])
                    garbage += burst
                    if len(good) < (time.time() - end) / THIN + hours * HOUR / THIN:
                        plant.put([b'{"uid":"m-%d","n":%d}' % (len(good), len(good))])
                        good.append(f"m-{len(good)}")
                    await asyncio.sleep(every)
                    away.count()
                flapping.cancel()
                await asyncio.wait([flapping])
                if not plant.is_open:
                    await plant.open()
                away.end()
                await until(lambda: not plant.waiting, "the broker to be rid of its messages", HOUR)
                await until(lambda: not any(each.queued() for each in agent.deliveries.values()), "the rest", 3 * HOUR)
                await asyncio.sleep(HOUR)  # of the simulated clock: what is said late is said by then
            plant.close()
            _settle(outcome, agent, uids(far), good, garbage)
            outcome.notes["connects"] = len(plant.connects)

    with heard() as lines:
        simulate(main, grain=1.0)
    most = ENDS + LINES * hours // 24
    outcome.notes |= {"lines": len(lines), "hours": hours, "garbage": garbage}
    if len(lines) > most:
        said = Counter(line.event for line in lines).most_common(8)
        outcome.problems.append(f"{len(lines)} lines in {hours} h, where {most} are allowed: {said}")
    outcome.problems += ill_said(lines, hours * HOUR, end)
    if [line.event for line in lines if line.event.startswith("mqtt connection is")][-1:] != [
        "mqtt connection is steady again"
    ]:
        outcome.problems.append("the broker's episode was not closed")
    report = audit(folder / "state")
    if not report.balanced:
        outcome.problems.append(f"the books do not balance: {report.findings}")
    kept, dropped = report.dead_letters.get("intake", 0), report.dead_dropped.get("intake", 0)
    outcome.notes |= {"kept": kept, "dropped": dropped}
    if kept + dropped != garbage or not kept:
        outcome.problems.append(f"{garbage} garbage payloads, {kept} kept as dead letters and {dropped} dropped")
    size = sum(path.stat().st_size for path in (folder / "state" / "dead-letters").glob("*.ndjson"))
    if size > room:
        outcome.problems.append(f"{size} bytes of dead letters, where {room} are allowed")
    stage.say(f"day-of-trouble: {outcome.notes}")


async def _flap(plant: Plant, rng: Random) -> None:
    """Up for a while, down for a while, by one way or the other, for ever."""
    while True:
        await asyncio.sleep(rng.uniform(10, 180))
        if rng.random() < 0.5:
            plant.cut()
        else:
            plant.close()
            await asyncio.sleep(rng.uniform(5, 120))
            await plant.open()


def _settle(outcome: Outcome, agent: Running, stored: dict[str, Counter[str]], good: list[str], garbage: int) -> None:
    """Good and bad at each cloud: what is bad is lost to all of them, and counted as refused."""
    for sink in SINKS:
        ledger = agent.spool.cursors(sink)[-1].ledger
        one = compared(good, stored[sink], told={fate: getattr(ledger, fate) for fate in LOSSES})
        one.sent += garbage
        one.lost += garbage
        one.told["refused"] += int(_refused(agent))
        outcome.add(one)


def _refused(agent: Running) -> float:
    return sum(
        sample.value
        for sample in agent.stats.samples()
        if sample.name == "agent_intake_refused_total" and sample.labels["reason"] == "bad"
    )
