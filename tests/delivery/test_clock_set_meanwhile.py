"""The wall clock is set while a batch is made or waits: no record counts as older than it is, or goes out so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from farside import Post, Reply, Request, far_side
from rig import rig
from virtual import run, until

from agent.record import Run
from agent.spool import Lane

TODAY = 1_790_000_000.0
HOUR = 3600.0
MAX_AGE = 600.0


def test_between_reading_and_sending(tmp_path: Path) -> None:
    class Slow(Post):
        def encode(self, run: Run) -> bytes:
            while steps:
                steps.pop()()
            return super().encode(run)

    steps: list[Any] = []

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(TODAY)
            delivery = it.delivery(Slow(far.port), max_age=MAX_AGE)
            async with it.running(delivery):
                for n, step in enumerate((HOUR, -HOUR)):
                    steps.append(lambda step=step: wall.step(step))
                    await it.put([n])
                    await until(lambda: delivery.queued() == 0)
            assert far.stored == [0, 1]

    run(main())


def test_between_the_question_what_is_too_old_and_the_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lane.read_now
    steps: list[Any] = []

    def read_now(lane: Lane, *arguments: Any, **options: Any) -> Any:
        while steps:
            steps.pop()()
        return real(lane, *arguments, **options)

    monkeypatch.setattr(Lane, "read_now", read_now)

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(TODAY)
            await it.put([0])
            wall.step(HOUR)
            steps.append(lambda: wall.step(-HOUR))
            delivery = it.delivery(Post(far.port), max_age=MAX_AGE)
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert far.stored == [0]

    run(main())


@pytest.mark.parametrize("maybe_taken", [False, True])
def test_between_two_tries(tmp_path: Path, maybe_taken: bool) -> None:
    async def main() -> None:
        def script(request: Request) -> Reply:
            return Reply(503, then="reset" if maybe_taken else "answer") if len(far.requests) == 1 else Reply()

        async with rig(tmp_path) as it, far_side(script) as far:
            wall = it.clock(TODAY)
            taken_in = wall.now_ms()
            await it.put([0])
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: len(far.requests) == 1)
                wall.step(HOUR)
                await until(lambda: delivery.queued() == 0)
        first, second = far.requests
        [record] = json.loads(second.body)
        if maybe_taken:  # under its former name, and so with its former bytes
            assert (second.id, second.body) == (first.id, first.body)
        else:
            assert abs(record["ts"] - taken_in - HOUR * 1000) <= 1

    run(main())
