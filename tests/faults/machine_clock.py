"""The rows in which the wall clock is wrong: the receiver also keeps the time that each record came with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from e2e import scene as e2e
from processes import AgentProcess

from agent.sandbox import faults
from agent.sandbox.obsrv import Dataset, Sandbox
from faults.inject import Injection
from faults.machine_ways import has_taken
from faults.rows import fault
from faults.stage import Receiver, Scene, Stage, Stored, wait_for

HOUR = 3600.0
SLACK_MS = 1000  # a correction is the difference of two clocks that were read one after the other


@dataclass
class _Machine:
    """An agent whose wall clock can be set, and an Obsrv that knows what time it is."""

    scene: Scene
    cloud: Sandbox
    _injection: Injection
    _began_ms: float

    def set_clock(self, offset: float) -> None:
        """The agent's wall clock shows so many seconds more than it is."""
        self._injection.set_clock(offset)

    def out(self) -> None:
        """From here on the far side is down."""
        self.cloud.faults.add(faults.unavailable())

    def heal(self) -> None:
        """The far side is back, for requests that are made from now on: one under way carries the times of before."""
        wait_for("no request to be under way", lambda: not self.scene.agent.status()["sinks"]["lake"]["in_flight"])
        self.cloud.faults.clear()

    def spooled(self, numbers: range) -> None:
        """Publish these and wait until they are in the spool."""
        self.scene.publish(numbers)
        wait_for("them to be in the spool", partial(has_taken, self.scene, numbers.stop))

    def delivered(self, count: int) -> None:
        """Wait until so many are at the far side."""
        wait_for("them to be delivered", lambda: len(self.cloud.stored(e2e.DATASET)) >= count, 60)

    def is_right(self, before: int) -> None:
        """Fail where a record numbered below that came with another time than that at which it was taken in."""
        now_ms = time.time() * 1000
        wrong = sorted(
            number
            for each in self.cloud.stored(e2e.DATASET)
            if (number := int(each.id.removeprefix("m-"))) < before
            and not self._began_ms - SLACK_MS <= each.event["ts"] <= now_ms + SLACK_MS
        )
        assert not wrong, f"{len(wrong)} records came with the time of a wrong clock, {wrong[0]} to {wrong[-1]}"


@contextmanager
def _machine(stage: Stage, *, clock: float = 0.0, sink: str = "") -> Iterator[_Machine]:
    """A trial on a machine whose wall clock is so many seconds ahead when the agent starts."""
    folder = stage.place()
    injection = Injection(folder / "faults")
    injection.set_clock(clock)
    far = Sandbox.open([Dataset(id=e2e.DATASET)], journal=folder / "journal.ndjson")
    with e2e.broker(folder) as broker, e2e.in_a_thread(far) as cloud:
        # What was not answered in time may be taken, and keeps its bytes, times and all.
        config = e2e.AGENT + e2e.mqtt_collector(broker.url) + e2e.obsrv_sink(cloud.url, timeout="20s", more=sink)
        with AgentProcess(folder / "agent", config, injection.env) as agent:
            scene = Scene(folder, agent, [Receiver("lake", partial(_stored, cloud))], stage.rng, broker)
            began_ms = time.time() * 1000
            agent.start()
            e2e.subscribed(agent)
            yield _Machine(scene, cloud, injection, began_ms)
            stage.judge(scene)


def _stored(cloud: Sandbox) -> Stored:
    return Stored(cloud.ledger.ids(e2e.DATASET), 0, len(cloud.conflicts))


@fault("clock-ahead")
def ahead(stage: Stage) -> None:
    """An hour ahead and back."""
    for _ in range(stage.times):
        _jump(stage, HOUR)


@fault("clock-behind")
def behind(stage: Stage) -> None:
    """An hour back and forth."""
    for _ in range(stage.times):
        _jump(stage, -HOUR)


def _jump(stage: Stage, offset: float) -> None:
    """
    Within an outage, then under way.

    The sink allows half an hour: who takes the jump for an age expires what is seconds old.
    """
    wave = 300 if stage.is_quick else 3_000
    with _machine(stage, sink='max_age = "30m"') as machine:
        machine.out()
        machine.spooled(range(wave))
        machine.set_clock(offset)
        machine.spooled(range(wave, 2 * wave))
        tries = len(machine.cloud.requests)
        wait_for("another try by that clock", lambda: len(machine.cloud.requests) > tries)
        machine.set_clock(0.0)
        machine.spooled(range(2 * wave, 3 * wave))
        machine.heal()
        machine.delivered(3 * wave)
        machine.is_right(before=3 * wave)
        publishing = machine.scene.publishing(range(3 * wave, 6 * wave), rate=3 * wave)
        wait_for("the next to be under way", partial(has_taken, machine.scene, 3 * wave + 50))
        machine.set_clock(offset)
        wait_for("some by that clock", partial(has_taken, machine.scene, 5 * wave))
        machine.set_clock(0.0)
        publishing.result()
        machine.scene.settle()


@fault("clock-1970")
def at_1970(stage: Stage) -> None:
    """A board without a battery, with an outage from the start: set right while it runs, or before its next start."""
    wave = 500 if stage.is_quick else 5_000
    for trial in range(stage.times):
        with _machine(stage, clock=60.0 - time.time()) as machine:
            agent = machine.scene.agent
            machine.out()
            machine.spooled(range(wave))
            assert agent.status()["agent"]["started"] < HOUR, "its clock is not that of 1970"
            if trial % 2:
                agent.kill()
            machine.set_clock(0.0)
            if trial % 2:
                agent.start()
                e2e.subscribed(agent)
            machine.spooled(range(wave, 2 * wave))
            machine.heal()
            machine.scene.settle()
            machine.is_right(before=2 * wave)
