"""One record more, beside what waits: how a dead letter is given back to its sink."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from farside import Post, Reply, far_side
from rig import record, rig
from virtual import later, run, soon, until

from agent.delivery import BrokenSinkError
from agent.errors import Rejected, Retryable, Throttled, Unfit
from agent.record import Run


def one(n: int, segment: int = 0xABC) -> Run:
    text = record(n)
    return Run(segment, n, text, array("I", [len(text)]), 5, 9)


def test_it_goes_under_its_own_name_and_touches_no_books(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(5))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await soon(delivery.resend(one(77)))
                await until(lambda: delivery.queued() == 0)
            [request] = [request for request in far.requests if request.numbers == [77]]
            assert request.id == f"{0xABC:016x}-77-77-{crc32(b'[%b]' % record(77)):08x}"
            [cursor] = it.spool.cursors("lake")
            assert cursor.ledger.delivered == 5
            assert it.value("agent_sink_records_total", sink="lake", outcome="delivered") == 5
            assert it.value("agent_sink_requests_total", sink="lake", result="accepted") == 2

    run(main())


def test_what_the_far_side_says_is_the_callers_and_blames_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda r: Reply(400) if r.numbers == [77] else Reply()) as far:
            delivery = it.delivery(Post(far.port))
            part = it.health.part("sink", "lake")
            async with it.running(delivery):
                for _ in range(5):
                    with pytest.raises(Rejected):
                        await soon(delivery.resend(one(77)))
                await it.put(range(5))
                await until(lambda: delivery.queued() == 0)
                assert part.state == "up"
                far.script = lambda request: Reply(503)
                with pytest.raises(Retryable):
                    await soon(delivery.resend(one(78)))
                assert part.state == "up"
            assert it.letters() == []

    run(main())


def test_what_the_sink_can_never_send_or_breaks_over_is_told_apart(tmp_path: Path) -> None:
    class Odd(Post):
        def encode(self, run: Run) -> bytes:
            if run.first == 1:
                raise Unfit({0: "odd"})
            if run.first == 2:
                raise OSError("broke")
            return super().encode(run)

        async def send(self, parcel: Any) -> None:
            if "-3-3-" in parcel.id:
                raise RuntimeError("broke as well")
            await super().send(parcel)

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Odd(far.port))
            async with it.running(delivery):
                with pytest.raises(Unfit) as unfit:
                    await soon(delivery.resend(one(1)))
                assert unfit.value.reasons == {0: "odd"}
                for n in (2, 3):
                    with pytest.raises(BrokenSinkError, match="Error, see the log"):
                        await soon(delivery.resend(one(n)))
                await soon(delivery.resend(one(4)))
            assert far.stored == [4]

    run(main())


def test_it_waits_for_a_sink_that_is_not_open(tmp_path: Path) -> None:
    attempts: list[int] = []

    class Shy(Post):
        def open(self) -> Any:
            attempts.append(1)
            if len(attempts) < 4:
                raise OSError("not yet")
            return super().open()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Shy(far.port))
            waiting = asyncio.create_task(delivery.resend(one(1)))
            await later(1)
            assert not waiting.done()
            async with it.running(delivery):
                await soon(waiting)
            assert len(attempts) == 4
            again = asyncio.create_task(delivery.resend(one(2)))
            await later(60)
            assert not again.done()  # closed once more
            again.cancel()
            await asyncio.wait([again])
            assert far.stored == [1]

    run(main())


def test_no_two_go_at_a_time_and_they_go_beside_a_batch_that_hangs(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            far.gate = asyncio.Event()
            await it.put([1])
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: far.open_now == 1)
                sending = [asyncio.create_task(delivery.resend(one(n))) for n in range(10, 15)]
                await until(lambda: far.open_now == 2)
                await later(5)
                assert far.open_now == 2
                far.gate.set()
                await soon(asyncio.gather(*sending))
            assert far.most_open == 2
            assert sorted(far.stored) == [1, 10, 11, 12, 13, 14]

    run(main())


def test_a_throttled_sink_is_left_alone_whoever_was_told_so(tmp_path: Path) -> None:
    async def main() -> None:
        def throttle(request: object) -> Reply:
            return Reply(429, headers={"retry-after": "300"})

        async with rig(tmp_path) as it, far_side(throttle) as far:
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                # Told in normal delivery:
                await it.put([1])
                await until(lambda: far.requests)
                told = far.requests[0].at
                sending = asyncio.create_task(delivery.resend(one(10)))
                await later(100)
                far.script = lambda request: Reply()
                await later(100)
                assert len(far.requests) == 1
                await soon(sending, within=300)
                assert min(request.at for request in far.requests[1:]) >= told + 300
                await until(lambda: delivery.queued() == 0)
                # Told here:
                far.script = throttle
                with pytest.raises(Throttled):
                    await soon(delivery.resend(one(11)))
                told = far.requests[-1].at
                far.script = lambda request: Reply()
                await soon(delivery.resend(one(11)), within=400)
                assert far.requests[-1].at >= told + 300

    run(main())
