"""How a delivery ends while the agent goes on: what is under way lands, another one goes on, nothing is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from farside import Post, far_side
from rig import rig
from test_delivery_resend import one
from virtual import run, soon, until

from agent.errors import Retryable
from agent.ports import Limits


def test_what_is_under_way_lands_and_nothing_more_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(4000))
            delivery, far.gate = it.delivery(Post(far.port, Limits(in_flight=2))), asyncio.Event()
            async with it.running(delivery):
                await until(lambda: far.open_now == 2)
                landing = asyncio.ensure_future(delivery.landed())
                await asyncio.sleep(0.1)  # of the simulated clock
                assert not landing.done()
                far.gate.set()
                await soon(landing)
                assert len(far.stored) == 1000
                await it.put(range(4000, 4100))
                await asyncio.sleep(5)  # of the simulated clock
                assert len(far.stored) == len(far.requests) * 500 == 1000
            other = it.delivery(Post(far.port, Limits(in_flight=2)))
            async with it.running(other):
                await until(lambda: other.queued() == 0)
            assert sorted(far.stored) == list(range(4100)), "each once"

    run(main())


def test_one_that_ended_gives_its_share_of_memory_to_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it:
            before = it.bodies.each
            for _ in range(10):
                delivery = it.delivery(Post(1))
                delivery.end()
            assert it.bodies.each == before

    run(main())


def test_whoever_waits_to_give_a_letter_back_through_it_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it:
            delivery = it.delivery(Post(1))
            waiting = asyncio.ensure_future(delivery.resend(one(1)))
            await asyncio.sleep(0.1)  # of the simulated clock
            delivery.end()
            with pytest.raises(Retryable, match="another configuration"):
                await soon(waiting)

    run(main())
