"""The rows in which the process kills itself at a chosen point of its work."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from e2e import scene as e2e

from faults.inject import Injection, Rule
from faults.kills_scene import SMALL, WAITS, falls, injected, settle, stored_once, stream
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for

Choice = Callable[[Scene], Rule]


def _kill_at(stage: Stage, choice: Choice, **options: Any) -> None:
    """Under a stream of messages: arm a rule, wait until it has killed the agent, start it anew; as often as told."""
    options = {"spool": SMALL, "sink": WAITS, **options}
    with injected(stage, **options) as (scene, injection):
        with stream(scene):
            _kills(scene, injection, stage.times, choice)
        settle(stage, scene)
    stored_once(stage)


def _kills(scene: Scene, injection: Injection, times: int, choice: Choice, *, calm: int = 0) -> None:
    """`calm`: how many messages a process takes in before the next rule comes into force."""
    for _ in range(times):
        wait_for("a while without trouble", lambda: not calm or _has_taken(scene, calm))
        before = len(injection.hits())
        rule = choice(scene)
        injection.arm(rule)
        falls(scene, f"{rule.call} to be met")
        assert len(injection.hits()) == before + 1, "something else has killed it"
        injection.disarm()
        scene.agent.start(ready=False)
    scene.trials = times


@fault("kill-at-write")
def at_write(stage: Stage) -> None:
    """A part of the group's bytes is in the file."""
    _kill_at(stage, lambda scene: Rule(call="writev", at="*.seg", do="kill", when="middle", nth=_some(scene.rng)))


@fault("kill-at-fsync")
def at_fsync(stage: Stage) -> None:
    """All of the group's bytes are in the file, nothing was promised of them."""
    _kill_at(stage, lambda scene: Rule(call="fsync|fdatasync", at="*.seg", do="kill", nth=_some(scene.rng)))


@fault("kill-at-ack")
def at_ack(stage: Stage) -> None:
    """Right after the sync, or right before the acknowledgements (0x40: PUBACK) are handed to the socket."""

    def choice(scene: Scene) -> Rule:
        if scene.rng.random() < 0.5:
            return Rule(call="fsync|fdatasync", at="*.seg", do="kill", when="after", nth=_some(scene.rng))
        broker = f"127.0.0.1:{scene.broker.port}"
        return Rule(call="send", at=broker, begins="40", do="kill", nth=_some(scene.rng))

    _kill_at(stage, choice)


@fault("kill-at-boundary")
def at_boundary(stage: Stage) -> None:
    """Only a new segment is synced by fsync. The first after a start is one, too."""
    _kill_at(stage, lambda scene: Rule(call="fsync", at="*.seg", do="kill", nth=scene.rng.randint(1, 3)))


@fault("kill-at-send")
def at_send(stage: Stage) -> None:
    """The far side has a part of the request, and waits for the rest."""
    _kill_at(
        stage,
        lambda scene: Rule(
            call="send", at=_far(scene), least=1500, do="kill", when="middle", nth=scene.rng.randint(1, 3)
        ),
    )


@fault("kill-at-answer")
def at_answer(stage: Stage) -> None:
    """Something is there to be read, and is not read. What was stored comes again, under its id."""
    _kill_at(stage, lambda scene: Rule(call="recv", at=_far(scene), do="kill", nth=scene.rng.randint(1, 3)))
    if stage.outcome.again < stage.times:
        stage.outcome.problems.append(
            f"{stage.outcome.again} batches came again after {stage.times} kills: not all had been stored"
        )


@fault("kill-at-settle")
def at_settle(stage: Stage) -> None:
    """The first write of a cursor comes before the first request: it is the later ones that settle."""

    def choice(scene: Scene) -> Rule:
        nth = scene.rng.randint(2, 6)
        if scene.rng.random() < 0.5:
            return Rule(call="pwrite", at="*.cursor", do="kill", when="middle", nth=nth)
        return Rule(call="fdatasync", at="*.cursor", do="kill", nth=nth)

    _kill_at(stage, choice)


# Watched, so that there is a file that is written anew all the time.
EVENTS = """
[[events]]
name = "warm"
when = "mqtt.plant.temperature > 20"
where = { device = "dev0001" }
max_per_hour = 3600
"""


@fault("kill-at-rename")
def at_rename(stage: Stage) -> None:
    """The first at the first start (`format`, `instance`), the others at what sessions and events leave behind."""
    options = {"topic": "plant/{line}/{device}/state", "more": EVENTS, "sink": 'select = "mqtt.*"'}
    with injected(stage, started=False, **options) as (scene, injection):

        def rule(scene: Scene, most: int = 3) -> Rule:
            return Rule(
                call="rename|replace", at=f"{scene.agent.state}/*.new", do="kill", nth=scene.rng.randint(1, most)
            )

        at_start = scene.rng.random() < 0.5 or stage.times > 1
        if at_start:
            injection.arm(rule(scene, 2))
            scene.agent.start(ready=False)
            falls(scene, "the first start")
            injection.disarm()
        scene.agent.start()
        e2e.subscribed(scene.agent)
        with stream(scene, rate=1_000):
            _kills(scene, injection, stage.times - at_start, rule)
        scene.trials = stage.times
        settle(stage, scene)
    stored_once(stage)


@fault("kill-at-evict")
def at_evict(stage: Stage) -> None:
    """The far side is down and the spool is full; what was given up is in the books, its segment still there."""

    def choice(scene: Scene) -> Rule:
        return Rule(call="unlink|remove", at="*.seg", do="kill", when=scene.rng.choice(["before", "after"]))

    with injected(stage, spool=SMALL) as (scene, injection):
        scene.cloud.fault("unavailable")
        # The spool holds more messages than can be on their way, and each process takes in more than that: what it
        # gives up was acknowledged long before, and does not come again to be counted twice.
        with stream(scene, rate=4_000, pad=80):
            _kills(scene, injection, stage.times, choice, calm=4_000)
        scene.cloud.heal()
        settle(stage, scene)
    stored_once(stage)


def _has_taken(scene: Scene, count: int) -> bool:
    agent = scene.agent
    return e2e.is_subscribed(agent) and e2e.metric(agent, "agent_intake_received_total") >= count


def _some(rng: Random) -> int:
    """Which of the groups: the first few, at a group every few milliseconds up to a segment's change."""
    return rng.randint(1, 20)


def _far(scene: Scene) -> str:
    return scene.cloud.url.removeprefix("http://").rstrip("/")
