"""Where a batch is made: on the event loop while that is nothing to it, in a thread where it is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from farside import Post, far_side
from rig import rig
from virtual import run, until

from agent.delivery import hands
from agent.ports import Limits
from agent.record import Run


@dataclass(frozen=True)
class Watched(Post):
    """Notes the threads that encode, and takes as much CPU as it is told."""

    takes: float = 0.0
    threads: list[str] = field(default_factory=list)

    def encode(self, run: Run) -> bytes:
        self.threads.append(threading.current_thread().name)
        until = time.thread_time() + self.takes
        while time.thread_time() < until:
            pass
        return super().encode(run)


def test_who_keeps_up_goes_to_a_thread_once_to_see_what_a_batch_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "BRIEF", 0.5)  # whatever else this machine is doing

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            sink = Watched(far.port, Limits(linger=0.1))
            delivery = it.delivery(sink)
            async with it.running(delivery):
                for n in range(4):
                    await it.put(range(20))
                    await until(lambda n=n: len(far.stored) == 20 * (n + 1))
            assert [name == "MainThread" for name in sink.threads] == [False, True, True, True]

    run(main())


def test_a_sink_whose_batches_take_long_never_holds_the_loop_up_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            sink = Watched(far.port, Limits(linger=0.1), takes=5 * hands.BRIEF)
            delivery = it.delivery(sink)
            async with it.running(delivery):
                for n in range(4):
                    await it.put(range(20))
                    await until(lambda n=n: len(far.stored) == 20 * (n + 1))
            assert "MainThread" not in sink.threads
            assert len(sink.threads) == 4

    run(main())


def test_small_batches_say_nothing_of_what_a_large_one_takes(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            sink = Watched(far.port, Limits(linger=0.1))
            delivery = it.delivery(sink)
            async with it.running(delivery):
                for n in range(3):
                    await it.put([n])
                    await until(lambda n=n: len(far.stored) == n + 1)
            assert "MainThread" not in sink.threads

    run(main())


def test_what_has_to_be_read_from_the_disk_is_read_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "BRIEF", 0.5)

    async def main() -> None:
        async with rig(tmp_path) as it:
            await it.put(range(1000))
        async with rig(tmp_path) as it, far_side() as far:  # what another run has written is not in memory
            sink = Watched(far.port, Limits(records=100))
            delivery = it.delivery(sink)
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
                assert len(sink.threads) == 10
                assert "MainThread" not in sink.threads
                await it.put([1000])
                await until(lambda: delivery.queued() == 0)
                assert sink.threads[-1] == "MainThread"
            assert far.stored == list(range(1001))

    run(main())
