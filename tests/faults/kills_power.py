"""The rows in which the power fails."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from random import Random

from e2e import scene as e2e

from faults.inject import Injection, Rule
from faults.inject.powercut import leave
from faults.kills_scene import WAITS, falls, injected, settle, stored_once, stream
from faults.rows import fault
from faults.stage import Scene, Stage

CALLS = "open|write|writev|pwrite|fsync|fdatasync|rename|replace|unlink|remove|mkdir"
SEGMENTS = {"max_bytes": "2MiB", "min_free_bytes": "0B"}  # of 256 KiB: a new one every half second
WRITES = "writev|pwrite"  # what follows at once is a sync


@fault("power-cut")
def power_cut(stage: Stage) -> None:
    """Only what was synced is left, of files and of directories."""
    _power_cuts(stage, None)


@fault("power-cut-torn")
def power_cut_torn(stage: Stage) -> None:
    """Any part of the rest is left too."""
    _power_cuts(stage, stage.rng)


def _power_cuts(stage: Stage, rng: Random | None) -> None:
    """Every other time the agent had been killed before: what was not synced then is not durable because it is read."""
    with injected(stage, spool=SEGMENTS, sink=WAITS, started=False) as (scene, injection):
        injection.keep_journal(scene.agent.state)
        scene.agent.start()
        e2e.subscribed(scene.agent)
        with stream(scene):
            for number in range(stage.times):
                journals = []
                if number % 2:
                    journals.append(_end(scene, injection, WRITES))
                    scene.agent.start(ready=False)
                journals.append(_end(scene, injection))
                _leave([journal for journal in journals if journal.exists()], scene.agent.state, rng)
                if number + 1 == stage.times:
                    injection.end_journal()
                scene.agent.start(ready=False)
        scene.trials = stage.times
        settle(stage, scene)
    stored_once(stage)


def _end(scene: Scene, injection: Injection, calls: str = CALLS) -> Path:
    """
    End the process, and give its journal.

    Half of the moments are chosen by time, half by the number of `calls`, since little happens in most of the time.
    """
    child = scene.agent.child
    assert child is not None
    if scene.rng.random() < 0.5:
        time.sleep(scene.rng.uniform(0.05, 1.0))  # the moment is the dice's choice, nothing is waited for
        scene.agent.kill()
    else:
        nth = scene.rng.randint(1, 80)
        injection.arm(Rule(call=calls, at=f"{scene.agent.state}*", do="kill", when="after", nth=nth))
        falls(scene, "the power cut")
        injection.disarm()
    return injection.journal(child.pid)


def _leave(journals: list[Path], state: Path, rng: Random | None) -> None:
    if journals:  # without any, no process had come to anything
        shutil.rmtree(state, ignore_errors=True)
        leave(journals, state, rng)
    for journal in journals:
        journal.unlink()
