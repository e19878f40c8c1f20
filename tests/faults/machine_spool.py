"""The rows in which the spool gets to its limits, or back to an earlier day."""

from __future__ import annotations

import shutil
import time
from functools import partial

from e2e import scene as e2e

from faults.machine_threads import stopped
from faults.machine_ways import BRISK, KIB_PAYLOAD, MIB, has_taken
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for


@fault("spool-full-drop-oldest")
def drop_oldest(stage: Stage) -> None:
    """Three times what the spool may hold, while the far side is down; more once it is back."""
    count = 1_800 if stage.is_quick else 12_000
    for _ in range(stage.times):
        with stage.scene(spool={"max_bytes": "1MiB"}, sink=BRISK) as scene:
            scene.cloud.fault("unavailable")
            scene.publish(range(count), payload=KIB_PAYLOAD)
            wait_for("all to be taken in, and room to be made", partial(_is_within, scene, count, MIB))
            scene.cloud.heal()
            # What is given up with a request of it under way may have been taken: told apart, and not this row's.
            wait_for("the rest to be sent", lambda scene=scene: e2e.drained(scene.agent))
            scene.publish(range(count, count + 200), payload=KIB_PAYLOAD)
            scene.settle()
        assert stage.outcome.told["evicted"], "nothing was given up: the spool was not full"


def _is_within(scene: Scene, count: int, limit: int) -> bool:
    taken = e2e.metric(scene.agent, "agent_intake_committed_total")
    return taken >= count and e2e.metric(scene.agent, "agent_spool_bytes") <= limit


@fault("spool-full-block")
def block(stage: Stage) -> None:
    """The same for a sink that blocks: intake closes, the broker keeps what does not fit."""
    count = 1_800 if stage.is_quick else 12_000
    for _ in range(stage.times):
        with stage.scene(spool={"max_bytes": "1MiB"}, sink=f'on_full = "block"\n{BRISK}') as scene:
            scene.cloud.fault("unavailable")
            scene.publish(range(count), payload=KIB_PAYLOAD)
            wait_for("intake to close", lambda: e2e.health(scene.agent, "ready")[0] == 503)
            waiting = scene.agent.status()["sinks"]["lake"]["queued"]
            assert waiting < count, "all of it fitted: nothing was left to the broker"
            scene.cloud.heal()
            scene.settle()


@fault("too-old")
def too_old(stage: Stage) -> None:
    """The first wave waits longer than its sink allows, the second comes when the far side is back."""
    count = 1_000 if stage.is_quick else 10_000
    for _ in range(stage.times):
        with stage.scene(sink=f'max_age = "1s"\n{BRISK}') as scene:
            scene.cloud.fault("unavailable")
            scene.publish(range(count))
            wait_for("them to be in the spool", partial(has_taken, scene, count))
            time.sleep(1.2)  # the fault itself: longer than max_age
            scene.cloud.heal()
            wait_for("the first wave to come to its end", lambda: e2e.settled(scene.agent, count))
            scene.publish(range(count, 2 * count))
            scene.settle()
        assert stage.outcome.told["expired"], "nothing expired: the outage was too short"
        assert stage.outcome.stored, "nothing arrived: this shows nothing"


@fault("state-rolled-back")
def rolled_back(stage: Stage) -> None:
    """
    A snapshot of the state directory is taken under load and laid back later, with requests in flight at either moment.

    All that the far side does not have then stays with the broker, so nothing at all may be missing.
    """
    for _ in range(stage.times):
        with stage.scene(
            collector='client_id = "edge"',  # else the session's name would hang on the state directory
            sink=f"batch_records = 40\n{BRISK}",
        ) as scene:
            _roll_back(scene, 600 if stage.is_quick else 5_000)
            scene.settle()


def _roll_back(scene: Scene, wave: int) -> None:
    agent, cloud, older = scene.agent, scene.cloud, scene.folder / "older"
    scene.publish(range(wave // 2))
    wait_for("some deliveries", lambda: _has(scene, 100))
    cloud.fault("hang", stage="stored", count=3)
    scene.publish(range(wave // 2, wave))
    wait_for("batches in flight", lambda: agent.status()["sinks"]["lake"]["in_flight"] >= 2)
    with stopped(agent):
        shutil.copytree(agent.state, older, ignore=shutil.ignore_patterns("control.sock"))
    wait_for("all to be settled", lambda: e2e.settled(agent, wave))
    cloud.fault("hang", stage="stored", count=3)
    flight = range(wave, wave + 120)  # three batches: all on their way at once
    scene.publish(flight)
    wait_for("the far side to have it all", lambda: _has(scene, flight.stop))
    agent.kill()
    shutil.rmtree(agent.state)
    shutil.copytree(older, agent.state)
    cloud.heal()
    scene.publish(range(flight.stop, flight.stop + wave // 2))
    agent.start()
    e2e.subscribed(agent)
    scene.publish(range(flight.stop + wave // 2, flight.stop + wave))


def _has(scene: Scene, count: int) -> bool:
    return sum(scene.cloud.report()["stored"].values()) >= count
