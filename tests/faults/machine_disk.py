"""The rows in which the disk under the spool is full, read-only, failing or slow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e import scene as e2e

from faults.inject import Injection, Rule
from faults.machine_ways import BRISK, HASTY_WATCHDOG, KIB_PAYLOAD, has_taken
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for


def _mount(*arguments: str) -> None:
    """Mount, or skip aloud."""
    lacking = "" if os.geteuid() == 0 else "not root"
    if not lacking:
        done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
        lacking = done.stderr.strip() if done.returncode else ""
    if lacking:
        missing = f"cannot mount ({lacking}): full and read-only disks need root and mounts"
        sys.stderr.write(f"\n*** {missing} ***\n")
        pytest.skip(missing)


@contextmanager
def _on_a_disk(stage: Stage, size: str, **spool: Any) -> Iterator[Scene]:
    """A scene whose agent has its state on a filesystem of that size; limits of its own keep nothing free there."""
    env = HASTY_WATCHDOG if stage.is_quick else {}
    limits = {"min_free_bytes": "0B", **spool}
    with (
        ExitStack() as last,  # the disk goes when nobody works on it any more
        stage.scene(agent=e2e.HASTY_AGENT, spool=limits, sink=BRISK, env=env, started=False) as scene,
    ):
        scene.agent.state.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(scene.agent.state))
        last.callback(subprocess.run, ["umount", "--lazy", str(scene.agent.state)], check=True)
        scene.agent.start()
        e2e.subscribed(scene.agent)
        yield scene


def _is_closed(scene: Scene) -> bool:
    return e2e.health(scene.agent, "ready")[0] == 503


def _why_closed(scene: Scene) -> str:
    return str(e2e.health(scene.agent, "ready")[1]["reason"])


@fault("disk-full")
def disk_full(stage: Stage) -> None:
    """Filled by the agent's own backlog while the far side is down, and by what others write, in turn."""
    for trial in range(stage.times):
        if trial % 2 == 0:
            _full_of_its_own(stage)
        else:
            _full_of_others(stage)


def _full_of_its_own(stage: Stage) -> None:
    with _on_a_disk(stage, "2m", max_bytes="16MiB") as scene:
        scene.cloud.fault("unavailable")
        scene.publish(range(3_000), payload=KIB_PAYLOAD)
        wait_for("intake to close", lambda: _is_closed(scene))
        assert "no space left" in _why_closed(scene).lower()
        # What was acknowledged is on the disk, and not only at hand.
        scene.agent.kill()
        scene.agent.start(ready=False)
        wait_for("intake to close again", lambda: _is_closed(scene))
        scene.cloud.heal()
        scene.settle()


def _full_of_others(stage: Stage) -> None:
    with _on_a_disk(stage, "8m", max_bytes="4MiB") as scene:
        scene.publish(range(500), payload=KIB_PAYLOAD)
        wait_for("the first to be settled", lambda: e2e.settled(scene.agent, 500))
        ballast = scene.agent.state / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as rubbish:
            while rubbish.write(bytes(65536)):
                pass
        scene.publish(range(500, 3_000), payload=KIB_PAYLOAD)
        wait_for("intake to close", lambda: _is_closed(scene))
        ballast.unlink()
        scene.settle()


@fault("disk-read-only")
def read_only(stage: Stage) -> None:
    """While it runs, by a read-only mount laid over it; then, in the full form, at its start as well."""
    for _ in range(stage.times):
        with _on_a_disk(stage, "32m", max_bytes="2MiB") as scene:
            agent = scene.agent
            # A filesystem with files open for writing is not remounted; one that is laid over it can be read-only,
            # and from the next segment on the agent meets nothing else.
            with _laid_over_read_only(agent.state):
                scene.publish(range(1_500), payload=KIB_PAYLOAD)
                wait_for("intake to close", lambda: _is_closed(scene))
                assert "read-only" in _why_closed(scene).lower()
            wait_for("intake to open by itself", lambda: not _is_closed(scene))
            if not stage.is_quick:
                _started_read_only(scene)
            scene.settle()


@contextmanager
def _laid_over_read_only(place: Path) -> Iterator[None]:
    _mount("--bind", str(place), str(place))
    try:
        _mount("-o", "remount,bind,ro", str(place))
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _started_read_only(scene: Scene) -> None:
    state = str(scene.agent.state)
    wait_for("all so far", lambda: e2e.settled(scene.agent, 1_500))
    scene.cloud.fault("unavailable")
    scene.publish(range(1_500, 2_000))
    wait_for("a backlog", lambda: scene.agent.status()["sinks"]["lake"]["queued"] == 500)
    assert scene.agent.stop() == 0
    _mount("-o", "remount,ro", state)
    scene.publish(range(2_000, 2_500))
    scene.agent.start(ready=False)
    wait_for("it to run and say so", lambda: _is_closed(scene))
    scene.cloud.heal()
    _mount("-o", "remount,rw", state)
    wait_for("intake to open by itself", lambda: not _is_closed(scene))


@fault("write-eio")
def failing_writes(stage: Stage) -> None:
    """
    The fifth, the tenth, the fifteenth and one in ten; some after a part was written, one says so as a short write.
    Those of segments, and in the full form those of every file there.

    A cursor that cannot be written is tried again after 5 s, which the quick form cannot wait for.
    """
    for _ in range(stage.times):
        with _failing(stage) as (scene, injection):
            place = f"{scene.agent.state}/*{'.seg' if stage.is_quick else ''}"
            once = Rule(call="write|writev|pwrite", at=place, do="EIO", nth=5)
            often = replace(once, nth=1, times=None, share=0.05)
            parts = (replace(once, nth=10, when="middle"), replace(once, call="writev", nth=15, do="short"))
            rules = (once, *parts, often, replace(often, when="middle"))
            injection.arm(*rules)
            _in_small_groups(scene, 30 if stage.is_quick else 100)
            injection.disarm()
            assert {hit["rule"]["do"] for hit in injection.hits()} == {"EIO", "short"}
            _from_the_disk(scene)


@fault("fsync-eio")
def failing_syncs(stage: Stage) -> None:
    """One in ten fails. Every sync is written down: none is of a segment that failed to sync before."""
    for _ in range(stage.times):
        with _failing(stage) as (scene, injection):
            place = f"{scene.agent.state}/*{'.seg' if stage.is_quick else ''}"
            every = Rule(call="fsync|fdatasync", at=place, do="slow", seconds=0.0, times=None)
            injection.arm(replace(every, do="EIO", share=0.1), every)
            _in_small_groups(scene, 30 if stage.is_quick else 100)
            injection.disarm()
            failed: set[str] = set()
            for hit in injection.hits():
                assert hit["place"] not in failed, "synced again after a sync of it had failed"
                if hit["rule"]["do"] == "EIO" and hit["place"].endswith(".seg"):
                    failed.add(hit["place"])
            assert failed, "no sync failed: this shows nothing"
            _from_the_disk(scene)


@fault("fsync-slow")
def slow_syncs(stage: Stage) -> None:
    """Two seconds each, of every file: slow is not dead, and what comes meanwhile shares the next one."""
    count = 500 if stage.is_quick else 20_000
    for _ in range(stage.times):
        with _failing(stage, env={}) as (scene, injection):
            scene.publish(range(100))
            wait_for("the first to be settled", partial(e2e.settled, scene.agent, 100))
            injection.arm(Rule(call="fsync|fdatasync", at=f"{scene.agent.state}/*", do="slow", seconds=2.0, times=None))
            scene.publish(range(100, 100 + count))
            wait_for("them to be in the spool", partial(has_taken, scene, 100 + count), 120)
            assert e2e.health(scene.agent, "ready")[0] == 200
            assert e2e.health(scene.agent, "live")[0] == 200
            if not stage.is_quick:
                wait_for("them to be settled", partial(e2e.settled, scene.agent, 100 + count), 300)
            injection.disarm()
            scene.settle()


@contextmanager
def _failing(stage: Stage, env: Mapping[str, str] = HASTY_WATCHDOG) -> Iterator[tuple[Scene, Injection]]:
    """A scene whose disk does as it is told, and no segment of which holds much; `env` in the quick form only."""
    injection = Injection(stage.folder / f"faults-{stage.scenes}", seed=stage.rng.randrange(1 << 32))
    env = {**injection.env, **(env if stage.is_quick else {})}
    with stage.scene(spool={"max_bytes": "8MiB"}, sink=BRISK, env=env) as scene:
        yield scene, injection


def _from_the_disk(scene: Scene) -> None:
    """Deliver what another process finds there: what the one before had at hand is of no help."""
    scene.agent.kill()
    scene.agent.start()
    scene.cloud.heal()
    scene.settle()


def _in_small_groups(scene: Scene, groups: int) -> None:
    """
    Publish so many times fifty messages, each when the one before is in the spool: a write and a sync each.

    The far side is down meanwhile.
    """
    scene.cloud.fault("unavailable")
    for number in range(groups):
        scene.publish(range(number * 50, number * 50 + 50))
        wait_for("the group to be in the spool", partial(has_taken, scene, number * 50 + 50))
