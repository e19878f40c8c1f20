"""Days without any far side, in simulated time: what was taken in meanwhile arrives, as far as it is of use by then."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import orjson
from e2e.clouds import opened, schema
from e2e.simulated import World, fed, simulate

from agent.config import load
from agent.ports import Context, Emit
from agent.record import Emission, Stream
from agent.spool import audit
from faults.away import DAY, ENDS, HOUR, LINES, PAUSE, SINKS, Away, config, heard, ill_said, resident, uids, until
from faults.rows import fault
from faults.stage import Stage
from faults.verdict import LOSSES, Outcome, compared

OVEN = "plant.oven"
THIN = 120.0  # seconds between two records
FRESH = {"lake": 7 * DAY, "insight": 300.0, "notes": 3 * DAY}  # seconds for which a record is of use to each sink
LEAN = 8 << 20  # bytes: what memory may have grown by, over all of an outage and with three clouds in the process


@dataclass
class Device:
    """Records that a device makes all the while, and when."""

    every: float
    made: dict[str, float] = field(default_factory=dict)  # id -> when

    async def work(self, emit: Emit, context: Context) -> None:
        """What a collector does."""
        context.part.become("up")
        stream = Stream(OVEN, {"host": "edge"})
        while True:
            uid = f"m-{len(self.made)}"
            payload = orjson.dumps({"uid": uid, "n": len(self.made)})
            self.made[uid] = time.time()
            await emit(Emission(context.name, [stream], [payload], time.time_ns() // 1_000_000))
            await asyncio.sleep(self.every)


@fault("four-days")
def four_days(stage: Stage) -> None:
    """All clouds away while a device goes on; a quick outage is of three hours."""
    seconds = 3 * HOUR if stage.is_quick else 4 * DAY
    folder = stage.place()
    device = Device(THIN)
    ended = 0.0
    outcome = stage.outcome
    outcome.trials += 1

    async def main(world: World) -> None:
        nonlocal ended
        async with opened(schemas=[schema(0)], insight={"honours_timestamp": True}) as far:
            file = folder / "agent.toml"
            file.write_text(config(far, folder, OVEN, collectors='[collectors.self]\ntype = "self"\n'))
            away = Away(far)
            async with world.agent(fed(load([file], {}), oven=device.work)) as agent:
                await until(lambda: all(each for each in uids(far).values()), "delivery before", HOUR)
                away.begin()
                began = time.time()
                sizes = await _sit_out(away, began + seconds)
                away.end()
                ended = time.time()
                await asyncio.sleep(HOUR / 4)
                made = dict(device.made)
                await until(lambda: not any(each.queued() for each in agent.deliveries.values()), "the rest", 3 * HOUR)
                await asyncio.sleep(HOUR / 4)  # of the simulated clock: what is said late is said by then
                made = {uid: at for uid, at in device.made.items() if uid in made}
            for sink in SINKS:
                ledger = agent.spool.cursors(sink)[-1].ledger
                told = Counter({fate: getattr(ledger, fate) for fate in LOSSES})
                _judge(outcome, sink, made, (began, ended), uids(far)[sink], told)
            outcome.problems += _paced(away.asked, seconds, len(made))
            outcome.notes["requests"] = dict(away.asked)
            outcome.notes["hours"] = seconds / HOUR
            outcome.notes["grown"] = grown = max(sizes[len(sizes) // 2 :]) - max(sizes[: len(sizes) // 4])
            if grown > LEAN:
                outcome.problems.append(f"memory has grown by {grown >> 10} KiB over the outage")

    with heard() as lines:
        simulate(main, grain=1.0)
    outcome.problems += ill_said(lines, seconds, ended)
    outcome.notes["lines"] = len(lines)
    if len(lines) > ENDS + LINES * seconds / DAY:
        outcome.problems.append(f"{len(lines)} lines: {Counter(line.event for line in lines).most_common(5)}")
    if not (report := audit(folder / "state")).balanced:
        outcome.problems.append(f"the books do not balance: {report.findings}")
    stage.say(f"four-days: {outcome.notes}")


async def _sit_out(away: Away, end: float) -> list[int]:
    """Let the time pass; how much memory was held meanwhile."""
    sizes = []
    while time.time() < end:
        await asyncio.sleep(min(300.0, end - time.time()))
        away.count()
        sizes.append(resident())
    return sizes


def _judge(
    outcome: Outcome,
    sink: str,
    made: dict[str, float],
    away: tuple[float, float],
    stored: Counter[str],
    told: Counter[str],
) -> None:
    """
    Hold a cloud's books against what the device has made; it was away from then to then.

    What was too old for that service then is told as such and is no loss; every other record has to be there.
    """
    margin = min(FRESH[sink] / 2, 2 * HOUR)  # it is found to be back a moment later, and catching up takes a while
    gone, back = away
    late = {uid for uid, at in made.items() if at > gone and back - at >= FRESH[sink] - margin}
    missing = late - set(stored)
    left = len(missing)
    for fate in ("expired", "dead"):  # the latter where the sink knows its service's limit better than `max_age` does
        known = min(left, told[fate])
        told[fate] -= known
        left -= known
    outcome.notes[f"{sink} too old"] = len(missing)
    if left:
        outcome.problems.append(f"{sink}: {left} were too old for it by then, and are not told of")
    if beyond := [uid for uid in late & set(stored) if back - made[uid] > FRESH[sink] + margin]:
        outcome.problems.append(f"{sink}: {len(beyond)} arrived that were too old for it")
    there = Counter({uid: count for uid, count in stored.items() if uid in made})
    outcome.add(compared(set(made) - missing, there, told=told))


def _paced(asked: Counter[str], seconds: float, news: int) -> list[str]:
    """The sinks that asked more often than the backoff allows; new data may be tried where a batch may be at fault."""
    most = seconds / PAUSE * 1.1 + 20
    allowed = {"lake": most, "insight": most + news, "notes": most + seconds / 300}  # notes asks for its limits, too
    return [
        f"{sink}: {asked[sink]} requests in {seconds:.0f} s, where the backoff comes to {allowed[sink]:.0f}"
        for sink in SINKS
        if not most / 3 <= asked[sink] <= allowed[sink]
    ]
