"""The rows in which the files of a stopped agent with a backlog are damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

from e2e import scene as e2e
from publisher import state_payload

from faults import damage_any, damaging, survivors
from faults.damaging import Harm
from faults.rows import fault
from faults.stage import Receiver, Scene, Stage, wait_for
from faults.verdict import Outcome

BACKLOG, EACH = 600, 650  # messages: that are taken in by the stop, and that a trial has
# Segments of 128 KiB, and messages that fill three of them.
SMALL = {"max_bytes": "1MiB", "min_free_bytes": "0B"}
PAD = 500
RULE = """
[[events]]
name = "warm"
when = "mqtt.plant.temperature > 38"
"""

Damage = Callable[[Scene, Random], str]


def _trials(stage: Stage, damage: Damage, *, most: Callable[[Path], int] | None = None, **options: str) -> None:
    """
    With the far side down a backlog comes in; the agent is stopped, its files are damaged, it is started, all is well.

    As often as told. `most` says of the state directory how many records one trial may cost; `options` as Stage.scene.
    """
    with stage.scene(spool=SMALL, **options) as scene:
        (lake,) = scene.receivers
        booked = 0
        for trial in range(stage.times):
            first = trial * EACH
            scene.publish(range(first, first + BACKLOG // 3), payload=partial(state_payload, pad=PAD))
            wait_for("these to be stored", partial(_has, lake, range(first, first + BACKLOG // 3)))
            scene.cloud.fault("unavailable")
            scene.publish(range(first + BACKLOG // 3, first + BACKLOG), payload=partial(state_payload, pad=PAD))
            wait_for("the backlog", partial(_queued, scene, 2 * BACKLOG // 3))
            assert scene.agent.stop() == 0
            bound = BACKLOG if most is None else most(scene.agent.state)
            done = damage(scene, scene.rng)
            # The broker keeps these for the session it knows, whatever has become of the agent's files.
            scene.publish(range(first + BACKLOG, first + EACH))
            scene.cloud.heal()
            scene.agent.start()
            e2e.subscribed(scene.agent)
            wait_for("the backlog to be gone", partial(e2e.drained, scene.agent))
            # What was delivered before and is damaged now, `audit` misses for as long as its segment stands there.
            wait_for("what all have to be deleted", partial(_is_tidy, scene))
            now = int(scene.agent.status()["sinks"]["lake"]["ledger"]["damaged"])
            assert now - booked <= bound, f"trial {trial}: {done} cost {now - booked} records, at most {bound} may go"
            booked = now
        scene.trials = stage.times
        scene.settle()


def _has(receiver: Receiver, numbers: range) -> bool:
    return {e2e.uid(number) for number in numbers} <= receiver.stored().ids.keys()


def _queued(scene: Scene, count: int) -> bool:
    return bool(scene.agent.status()["sinks"]["lake"]["queued"] >= count)


def _is_tidy(scene: Scene) -> bool:
    return all(lane["segments"] <= 1 for lane in scene.agent.status()["spool"]["lanes"].values())


def _lane(state: Path) -> Path:
    (lane,) = (path for path in (state / "lanes").iterdir() if path.name != "dead")
    return lane


def _segments(state: Path) -> list[Path]:
    return sorted(path for path in _lane(state).glob("*.seg") if path.stat().st_size > survivors.SEGMENT_HEADER)


def _to_a_segment(harm: Harm) -> Damage:
    def damage(scene: Scene, rng: Random) -> str:
        path = rng.choice(_segments(scene.agent.state))
        return f"{path.name}: {harm(path, rng)}"

    return damage


def _largest_frame(state: Path) -> int:
    lane = survivors.lane(_lane(state))
    return max(len(frame.records) for _, frames in lane.segments.values() for frame in frames)


def _nothing(state: Path) -> int:
    del state
    return 0


@fault("damage-flip")
def flip(stage: Stage) -> None:
    _trials(stage, _to_a_segment(damaging.spoil), most=_largest_frame)


@fault("damage-truncated")
def truncated(stage: Stage) -> None:
    _trials(stage, _to_a_segment(damaging.cut))


@fault("damage-deleted")
def deleted(stage: Stage) -> None:
    _trials(stage, _to_a_segment(damaging.delete))


@fault("damage-zeroed")
def zeroed(stage: Stage) -> None:
    def header(path: Path, rng: Random) -> str:
        del rng
        path.write_bytes(bytes(survivors.SEGMENT_HEADER) + path.read_bytes()[survivors.SEGMENT_HEADER :])
        return "header of zeros"

    _trials(stage, _to_a_segment(header), most=_nothing)


@fault("damage-swapped")
def swapped(stage: Stage) -> None:
    def damage(scene: Scene, rng: Random) -> str:
        some = _segments(scene.agent.state)
        path = rng.choice(some)
        others = [other for other in some if other != path]
        return f"{path.name}: {rng.choice((damaging.swap, damaging.copy_over))(path, others, rng)}"

    _trials(stage, damage)


def _in_turn(files: Callable[[Path], list[Path]]) -> Damage:
    """Each of these files in each of four ways, in an order that the dice decide."""
    left: list[tuple[Path, Harm]] = []

    def damage(scene: Scene, rng: Random) -> str:
        if not left:
            ways = (damaging.spoil, damaging.cut, damaging.delete, damaging.empty)
            left.extend(product(files(scene.agent.state), ways))
            rng.shuffle(left)
        path, harm = left.pop()
        return f"{path.name}: {harm(path, rng)}"

    return damage


@fault("damage-cursor")
def cursor(stage: Stage) -> None:
    _trials(stage, _in_turn(lambda state: [_lane(state) / "lake.cursor"]), most=_nothing)


@fault("damage-small-files")
def small_files(stage: Stage) -> None:
    def files(state: Path) -> list[Path]:
        every = (path for path in state.rglob("*") if path.is_file() and "damaged" not in path.parts)
        return sorted(path for path in every if path.suffix != ".seg" and path.name != "lake.cursor")

    # A rule on what comes in, so that there is something to be remembered of events.
    _trials(stage, _in_turn(files), most=_nothing, sink='select = ["mqtt.*"]', more=RULE)


@fault("damage-any")
def any_file(stage: Stage) -> None:
    """In this process: what it does is written in damage_any.py."""
    outcome = Outcome()
    for number in range(stage.times):
        trial = damage_any.trial(f"{stage.seed}:{number}")
        told = Counter(damaged=trial.told, unknown=trial.unknown)
        outcome.add(Outcome(trials=1, sent=trial.sent, stored=trial.stored, lost=trial.lost, told=+told))
        outcome.notes["told though delivered before"] = (
            outcome.notes.get("told though delivered before", 0) + trial.again
        )
    stage.outcome.add(outcome)
