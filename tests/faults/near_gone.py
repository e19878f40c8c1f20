"""No broker for a simulated hour: files, sockets, threads and every line of the agent are real, the clocks are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from delivery.virtual import until
from e2e import scene as e2e
from e2e.simulated import World, simulate
from mqtt import scripted_broker as wire
from mqtt.scripted_broker import Link
from processes import AgentProcess
from publisher import state_payload

from agent.config import load
from agent.sandbox.obsrv import Dataset, Sandbox
from faults.near_plant import FIVE, OLDER, Near, Session, each_time
from faults.rows import fault
from faults.stage import Stage, lake

HOUR = 3600.0
LONGEST_PAUSE = 60.0  # seconds between two tries to connect
MOST_LINES = 5  # of the log about a session: it is there, has gone, nobody listens, still so after an hour, it is back
EACH = 500  # messages before, and after
FORGOTTEN = 100  # of these, whose acknowledgements the broker did not keep


@dataclass
class Keeper:
    """A broker with one session, of which it keeps what was not acknowledged."""

    session: Session
    numbers: range
    broker: wire.Broker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = wire.Broker(self.session.protocol, connack=lambda: (len(self.broker.links) > 1, 0))

    async def hand_over(self, new: range, again: range = range(0)) -> None:
        """All of these over the newest connection, `again` with DUP; acknowledged on return."""
        link = self.broker.links[-1]
        before = len(link.acked())
        for dup, numbers in ((True, again), (False, new)):
            link.send(*(self._message(link, number, dup=dup) for number in numbers))
        await until(lambda: len(link.acked()) == before + len(again) + len(new))

    async def connected(self, times: int) -> None:
        """The agent has connected so often, and is subscribed."""
        await until(lambda: len(self.broker.links) >= times, within=2 * LONGEST_PAUSE, step=0.001)
        await until(lambda: self.broker.links[-1].of(wire.SUBSCRIBE), step=0.001)

    def _message(self, link: Link, number: int, *, dup: bool) -> bytes:
        return link.publish(state_payload(number), number % 60_000 + 1, dup=dup, topic=self.session.topic(number))


@fault("near-broker-gone")
@each_time
def near_broker_gone(stage: Stage) -> None:
    """
    The brokers are scripts, for their hour has to pass in no time; what they took from devices is their word.

    They come back with their sessions, and without the last acknowledgements that they had.
    """
    folder = stage.place()
    keepers = [Keeper(FIVE, range(2 * EACH)), Keeper(OLDER, range(2 * EACH, 4 * EACH))]
    (folder / "ids").mkdir()
    (folder / "ids" / "brokers").write_text("".join(f"{number}\n" for each in keepers for number in each.numbers))
    with structlog.testing.capture_logs() as lines:
        scene = simulate(lambda world: _an_hour(world, stage, folder, keepers))
    scene.settled = True
    stage.judge(scene)
    for each in keepers:
        name = each.session.name
        said = [line for line in lines if line.get("collector") == name]
        away = [line["down_seconds"] for line in said if "down_seconds" in line]
        stage.outcome.notes[f"seconds without {name}"] = away
        if len(said) > MOST_LINES:
            stage.outcome.problems.append(f"{len(said)} lines about {name}, of which {MOST_LINES} tell all: {said}")
    if scene.twice():
        stage.outcome.problems.append(f"copies beyond the first: expected none, found {scene.twice()}")


async def _an_hour(world: World, stage: Stage, folder: Path, keepers: Sequence[Keeper]) -> Near:
    journal = folder / "journal.ndjson"
    async with Sandbox.open([Dataset(id=e2e.DATASET)], journal=journal) as far, AsyncExitStack() as agents:
        async with _listening(keepers):
            tables = "".join(each.session.collector(each.broker.url) for each in keepers)
            # Its process is never started: the agent of this configuration runs here, in simulated time.
            process = AgentProcess(folder / "agent", e2e.AGENT + tables + e2e.obsrv_sink(far.url))
            agent = await agents.enter_async_context(world.agent(load([process.config], {})))
            for each in keepers:
                await each.connected(1)
                await each.hand_over(each.numbers[: EACH - FORGOTTEN])
                each.broker.pongs = False  # what follows is not confirmed: once it were, it would be taken for another
                await each.hand_over(each.numbers[EACH - FORGOTTEN : EACH])
        await asyncio.sleep(HOUR)
        async with _listening(keepers):
            for each in keepers:
                each.broker.pongs = True
                await each.connected(2)
                await each.hand_over(each.numbers[EACH:], again=each.numbers[EACH - FORGOTTEN : EACH])
            await until(lambda: not any(delivery.queued() for delivery in agent.deliveries.values()))
            await agents.aclose()
    return Near(folder, process, [lake(e2e.Cloud(far.url, journal))], stage.rng)


@asynccontextmanager
async def _listening(keepers: Sequence[Keeper]) -> AsyncIterator[None]:
    """Every broker is there, always on the same port."""
    async with AsyncExitStack() as stack:
        for each in keepers:
            await stack.enter_async_context(each.broker.running())
        yield
