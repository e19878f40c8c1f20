"""The rows in which the process is gone in the middle of its work, or the machine is."""

from __future__ import annotations

import time

from e2e import scene as e2e

from faults import kills_points, kills_power
from faults.kills_scene import WAITS, settle, stored_once, stream
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for

__all__ = ["kills_points", "kills_power"]


@fault("kill-random")
def kill_random(stage: Stage) -> None:
    """By the harness, from outside: no chosen point, and no layer under the agent."""
    longest = 0.6 if stage.is_quick else 1.5
    with stage.scene(spool={"max_bytes": "8MiB"}, sink=WAITS) as scene:
        with stream(scene):
            for _ in range(stage.times):
                time.sleep(scene.rng.uniform(0.05, longest))  # the moment is the dice's choice, nothing is waited for
                scene.agent.kill()
                scene.agent.start(ready=False)
        scene.trials = stage.times
        settle(stage, scene)
    stored_once(stage)


@fault("stop-in-outage")
def stop_in_outage(stage: Stage) -> None:
    """20,000 messages (1,000 in the quick form), none of which the far side has taken when the agent is stopped."""
    count = 1_000 if stage.is_quick else 20_000
    agent = e2e.HASTY_AGENT if stage.is_quick else e2e.AGENT
    with stage.scene(agent=agent) as scene:
        for number in range(stage.times):
            scene.cloud.fault(scene.rng.choice(["unavailable", "reset"]))
            scene.publish(range(number * count, (number + 1) * count), name=f"publisher-{number}")
            wait_for("all to wait, and the sink to be down", lambda: _waits(scene, count))
            assert scene.agent.stop() == 0
            scene.cloud.heal()
            scene.agent.start()
            settle(stage, scene, stop=number + 1 == stage.times)
        scene.trials = stage.times
    stored_once(stage)


def _waits(scene: Scene, count: int) -> bool:
    sink = scene.agent.status()["sinks"]["lake"]
    return bool(sink["queued"] == count and sink["state"] == "down")
