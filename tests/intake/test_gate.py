"""What is emitted while nothing may be taken in: it waits, in its order, and goes as it is routed then."""

from __future__ import annotations

import asyncio
from pathlib import Path

from test_intake import EVERYTHING, count, emission, intake_over, stored

from agent.intake.gate import Gate
from agent.options import Selection
from agent.record import Stream
from agent.spool import Reader

FEW = Selection(select=("mqtt.few",))


def test_what_is_emitted_meanwhile_is_not_stored_and_goes_the_new_way_in_its_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with intake_over(tmp_path) as (intake, spool, stats):
            stream, emit = Stream("mqtt.few", {}), intake.emitter("plant")
            await emit(emission([stream], [b'{"n":0}']))
            with intake.gate.shut():
                waiting = [emit(emission([stream], [b'{"n":%d}' % n])) for n in (1, 2, 3)]
                assert await spool.flush()
                await asyncio.sleep(0)
                assert not any(each.done() for each in waiting)
                assert count(stats, "agent_intake_received_total", collector="plant") == 1
                await spool.change([Reader("sink0", FEW.lane)])
                intake.change([FEW])
            await asyncio.gather(*waiting)
            assert [record["fields"] for record in await stored(spool, "all")] == [{"n": 0}]
            assert [record["fields"] for record in await stored(spool, FEW.lane)] == [{"n": n} for n in (1, 2, 3)]
            assert count(stats, "agent_intake_committed_total", collector="plant") == 4

    asyncio.run(main())


def test_who_gave_up_meanwhile_has_emitted_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with intake_over(tmp_path) as (intake, spool, _):
            stream, emit = Stream("mqtt.plant", {}), intake.emitter("plant")
            with intake.gate.shut():
                emit(emission([stream], [b'{"n":1}'])).cancel()
                kept = emit(emission([stream], [b'{"n":2}']))
            await kept
            assert [record["fields"] for record in await stored(spool, EVERYTHING.lane)] == [{"n": 2}]

    asyncio.run(main())


def test_what_becomes_of_it_is_told_as_if_there_were_no_gate() -> None:
    async def main() -> None:
        gate, loop = Gate(), asyncio.get_running_loop()
        inner = [loop.create_future() for _ in range(3)]

        def fails() -> asyncio.Future[None]:
            raise ValueError("a bug")

        with gate.shut():
            waiting = [gate.wait(lambda each=each: each) for each in inner] + [gate.wait(fails)]
        inner[0].set_result(None)
        inner[1].set_exception(OSError("gone"))
        inner[2].cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in found] == [type(None), OSError, asyncio.CancelledError, ValueError]
        assert not gate.is_shut

    asyncio.run(main())
