"""
One agent through random trouble for as long as one likes: the dice of a printed seed, ending in the audit.

Messages come at a steady rate, a tenth of a second of them at a time; whatever goes wrong, the publisher goes on with
what was not acknowledged to it. Each event lasts some seconds, and some seconds of peace follow.
"""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from e2e import scene as e2e
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload

from faults.stage import Receiver, Scene, Stage, lake

RATE = 200  # messages a second
AT_ONCE = 20
CALM = (1.0, 8.0)  # seconds between two events
LASTING = (0.5, 12.0)  # seconds of an event
CLOSING = 300.0  # seconds until all must have arrived once everything is well

FAR: list[tuple[str, dict[str, Any]]] = [
    ("unavailable", {}),
    ("unavailable", {"retry_after": 2}),
    ("error", {"stored": True}),
    ("error", {"stored": False}),
    ("reset", {"stage": "read"}),
    ("reset", {"stage": "stored"}),
    ("hang", {"stage": "send"}),
    ("hang", {"stage": "stored"}),
    ("half_answer", {}),
]
CONFIG = """
[agent]
hostname = "edge"
tags = { turn = "@TURN@" }
"""


class Feed:
    """A publisher that never gives up; its file holds what was acknowledged to it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stop = threading.Event()
        self._work = e2e.Background(self._run)

    def stop(self) -> None:
        """Publish what is under way to its end, then no more."""
        self._stop.set()
        self._work.result(120)

    def _run(self) -> None:
        began = time.monotonic()
        publisher: Publisher | None = None
        for first in itertools.count(0, AT_ONCE):
            self._stop.wait(began + first / RATE - time.monotonic())
            if self._stop.is_set():
                break
            while True:
                try:
                    publisher = publisher or self._scene.publisher()
                    publisher.publish(range(first, first + AT_ONCE), state_payload)
                    break
                except (OSError, AssertionError):  # the broker went; all of these once more, some a second time
                    if publisher is not None:
                        publisher.abandon()
                    publisher = None
                    time.sleep(0.1)  # between two tries to connect
        if publisher is not None:
            publisher.close()


class Trouble:
    """What may happen to a scene, each as a method that returns when it is over."""

    def __init__(self, scene: Scene, configure: Callable[[int], str], rng: Random) -> None:
        self.scene = scene
        self._configure = configure
        self._rng = rng
        self._turn = 0
        self.happened: Counter[str] = Counter()
        self.peak_rss = 0

    def one(self) -> None:
        """The dice choose."""
        event = self._rng.choice(
            [self.far, self.far, self.far, self.kill, self.kill, self.stop, self.reload, self.freeze, self.broker]
        )
        self.happened[event.__name__] += 1
        self.look()
        event()

    def look(self) -> None:
        """Note how much memory it has taken; a new process begins anew."""
        child = self.scene.agent.child
        assert child is not None
        text = Path(f"/proc/{child.pid}/status").read_text()
        self.peak_rss = max(self.peak_rss, int(text.partition("VmHWM:")[2].split()[0]) // 1024)

    def far(self) -> None:
        """The cloud fails in one of its ways."""
        name, options = self._rng.choice(FAR)
        self.happened[f"far {name}"] += 1
        self.scene.cloud.fault(name, **options)
        self._last()
        self.scene.cloud.heal()

    def kill(self) -> None:
        """kill -9, sometimes again while it starts."""
        for _ in range(self._rng.choice([1, 1, 1, 3])):
            self.scene.agent.kill()
            self.scene.agent.start(ready=False)
            time.sleep(self._rng.uniform(0.0, 1.5))  # the moment is the dice's

    def stop(self) -> None:
        """Stopped in order, and away for a while."""
        wait_for("the agent", self.scene.agent.is_ready)
        assert self.scene.agent.stop() == 0
        self._last()
        self.scene.agent.start(ready=False)

    def reload(self) -> None:
        """Another configuration, or one with a mistake."""
        self._turn += 1
        self.scene.agent.configure(self._configure(self._turn) + ("\n[nonsense]\n" if self._turn % 5 == 0 else ""))
        self._signal(signal.SIGHUP)
        self._last()
        # A start would not get over the mistake.
        self.scene.agent.configure(self._configure(self._turn))

    def freeze(self) -> None:
        """It does not run for a while."""
        self._signal(signal.SIGSTOP)
        self._last()
        self._signal(signal.SIGCONT)

    def broker(self) -> None:
        """The broker is ended and started again with what it had."""
        self.scene.broker.stop()
        self._last()
        self.scene.broker.start()

    def _signal(self, number: signal.Signals) -> None:
        child = self.scene.agent.child
        assert child is not None
        if number == signal.SIGHUP:  # before it answers signals, nothing is there that could be read again
            wait_for("the agent", self.scene.agent.is_ready)
        child.send_signal(number)

    def _last(self) -> None:
        time.sleep(self._rng.uniform(*LASTING))  # the length is the dice's


def soak(stage: Stage, seconds: float) -> dict[str, Any]:
    """Trouble for that long, then peace; the verdict is in `stage.outcome`. Gives a summary."""
    folder = stage.place()
    with e2e.broker(folder) as broker, e2e.cloud(folder, e2e.DATASET, "part") as cloud:

        def configure(turn: int) -> str:
            part = 'where = { line = "line3" }' + (f'\nlinger = "{500 + turn % 7 * 100}ms"' if turn else "")
            return (
                CONFIG.replace("@TURN@", str(turn // 3))
                + e2e.spool(max_bytes="256MiB")
                + e2e.mqtt_collector(broker.url, "plant/{line}/{device}/state")
                + e2e.obsrv_sink(cloud.url)
                + e2e.obsrv_sink(cloud.url, "part", dataset="part", more=part)
            )

        with AgentProcess(folder / "agent", configure(0)) as agent:
            receivers = [lake(cloud), Receiver("part", lake(cloud, "part").stored, lambda number: number % 7 == 3)]
            scene = Scene(folder, agent, receivers, stage.rng, broker, cloud)
            agent.start()
            e2e.subscribed(agent)
            began = time.monotonic()
            feed = Feed(scene)
            trouble = Trouble(scene, configure, stage.rng)
            told = began
            while time.monotonic() - began < seconds:
                trouble.one()
                time.sleep(stage.rng.uniform(*CALM))  # the dice's, too
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    stage.say(
                        f"{told - began:6.0f} s: {sum(trouble.happened.values())} events {dict(trouble.happened)}"
                    )
            feed.stop()
            cloud.heal()
            wait_for("the agent", agent.is_ready)
            healed = time.monotonic()
            scene.settle(CLOSING, stop=False)
            caught_up = time.monotonic() - healed
            trouble.look()
            assert agent.stop() == 0
            stage.judge(scene)
            levels = Counter(re.findall(r"^\S+ (error|warning|info) ", agent.text(), re.MULTILINE))
    return {
        "seed": stage.seed,
        "seconds": round(time.monotonic() - began),
        "events": dict(sorted(trouble.happened.items())),
        "caught_up_seconds": round(caught_up, 1),
        "peak_rss_mib": trouble.peak_rss,
        "log_lines": dict(levels),
    }
