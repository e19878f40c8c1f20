"""The scene of the kills: a stream of messages, and an agent with a layer of faults under it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from e2e import scene as e2e
from publisher import state_payload

from faults.inject import Injection
from faults.stage import PATIENCE, Scene, Stage, wait_for

RATE = 2_000  # messages a second
# The smallest segments there are (128 KiB): one is full after some 600 messages. Where they are not to make room, the
# broker waits.
SMALL = {"max_bytes": "1MiB", "min_free_bytes": "0B"}
WAITS = 'on_full = "block"'


@contextmanager
def stream(scene: Scene, rate: float = RATE, pad: int = 120, least: int = 1_000) -> Iterator[None]:
    """Messages at that rate for as long as the block lasts, and until there are some."""
    enough = threading.Event()
    publisher = scene.publisher()
    payload = partial(state_payload, pad=pad)

    def work() -> None:
        number, some = 0, max(1, int(rate / 10))
        while number < least or not enough.is_set():
            publisher.publish(range(number, number + some), payload, rate=rate)
            number += some

    publishing = e2e.Background(work)
    try:
        yield
    finally:
        enough.set()
        publishing.result()
        publisher.close()


@contextmanager
def injected(stage: Stage, **options: Any) -> Iterator[tuple[Scene, Injection]]:
    injection = Injection(stage.folder / "injected", seed=stage.seed)
    with stage.scene(env=injection.env, **options) as scene:
        yield scene, injection


def settle(stage: Stage, scene: Scene, *, stop: bool = True) -> None:
    """As `Scene.settle`; what is lost shows in the quick form before pytest's own patience ends."""
    scene.settle(20.0 if stage.is_quick else PATIENCE, stop=stop)


def stored_once(stage: Stage) -> None:
    """
    One kill excuses no second copy: batches keep their names, and what the broker sends again is known.

    By the second of two in quick succession a segment may have gone, delivered, that knew of messages whose
    acknowledgements have not reached the broker: with more than one kill, copies are counted and not judged.
    """
    if stage.times == 1 and stage.outcome.twice:
        stage.outcome.problems.append(f"{stage.outcome.twice} copies beyond the first after one kill")


def falls(scene: Scene, what: str) -> None:
    """Wait until the agent has killed itself."""
    child = scene.agent.child
    assert child is not None
    wait_for(what, lambda: child.poll() is not None)
    assert child.returncode == -signal.SIGKILL, f"ended with {child.returncode}:\n{scene.agent.text()[-4000:]}"
