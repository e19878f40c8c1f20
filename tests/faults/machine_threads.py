"""The rows in which the agent's process is held up, or loses a thread."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e import scene as e2e
from e2e.systemd import systemd
from processes import AgentProcess

from faults.inject import Injection, Rule
from faults.rows import fault
from faults.stage import Scene, Stage, wait_for


@contextmanager
def stopped(agent: AgentProcess) -> Iterator[None]:
    """SIGSTOP for as long as the block lasts: what it has open and in flight stays so."""
    assert agent.child is not None
    agent.child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        agent.child.send_signal(signal.SIGCONT)


@fault("stopped")
def held_up(stage: Stage) -> None:
    """
    Under load, with requests in flight whose answers come meanwhile and are too late when they are read.

    In the full form the broker, too, loses patience (after one and a half keepalives) and closes.
    """
    seconds, rate = (3.0, 1_000) if stage.is_quick else (60.0, 500)
    count = int(rate * seconds)
    for _ in range(stage.times):
        with stage.scene(collector='keepalive = "20s"') as scene:
            scene.cloud.fault("slow", seconds=1.5)
            publishing = scene.publishing(range(count), rate=rate)
            wait_for("requests in flight", lambda scene=scene: _in_flight(scene) >= 1)
            with stopped(scene.agent):
                time.sleep(seconds)  # the fault itself
            publishing.result(120)
            scene.cloud.heal()
            scene.settle()


def _in_flight(scene: Scene) -> int:
    return int(scene.agent.status()["sinks"]["lake"]["in_flight"])


@fault("thread-dies")
def writer_dies(stage: Stage) -> None:
    """
    In the middle of a write, after it or before its sync, as the dice have it. systemd sees no more feeds and ends it.

    Had anything been acknowledged by then that is not on the disk, the broker would not send it again.
    """
    wave = 300 if stage.is_quick else 5_000
    for _ in range(stage.times):
        injection = Injection(stage.folder / f"faults-{stage.scenes}", seed=stage.rng.randrange(1 << 32))
        with systemd() as host, stage.scene(env={**host.env, **injection.env}) as scene:
            agent = scene.agent
            scene.publish(range(wave))
            wait_for("feeds", lambda: len(host.fed) >= 2)
            call, when = stage.rng.choice([("writev", "middle"), ("writev", "after"), ("fdatasync", "before")])
            injection.arm(Rule(call=call, at="*.seg", do="die", when=when))
            scene.publish(range(wave, 2 * wave))
            wait_for("the thread to die", injection.hits)
            wait_for("the watchdog to be left unfed", host.has_lost_patience)
            assert e2e.health(agent, "ready")[0] == 503, "it says that it takes things in"
            scene.publish(range(2 * wave, 3 * wave))
            injection.disarm()
            _end_as_systemd_does(agent)
            agent.start()
            e2e.subscribed(agent)
            scene.settle()


def _end_as_systemd_does(agent: AgentProcess) -> None:
    """WatchdogSignal=SIGABRT; the program is to say where each thread stands, and is gone."""
    assert agent.child is not None
    agent.child.send_signal(signal.SIGABRT)
    agent.child.wait(10)
    assert "Fatal Python error: Aborted" in agent.text()
