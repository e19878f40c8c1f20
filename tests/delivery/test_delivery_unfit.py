"""A sink that finds out only as it sends that it can never send some records."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from farside import Post, Reply, far_side
from rig import capture_logs, rig
from virtual import run, until

from agent.delivery import Notice
from agent.errors import Unfit
from agent.ports import Limits, Parcel
from agent.spool import State, audit


class Picky(Post):
    """Never sends a number that is in `odd`, and names them all at once."""

    odd: frozenset[int] = frozenset()
    far_off: tuple[int, ...] = ()  # positions that no batch has

    async def send(self, parcel: Parcel) -> None:
        numbers = [record["fields"]["n"] for record in json.loads(parcel.body)]
        reasons = {at: f"{n} is odd" for at, n in enumerate(numbers) if n in self.odd}
        if reasons or self.far_off:
            raise Unfit({**reasons, **dict.fromkeys(self.far_off, "nowhere")})
        await super().send(parcel)


def picky(port: int, odd: set[int], limits: Limits | None = None, far_off: tuple[int, ...] = ()) -> Picky:
    kind = type("Picky", (Picky,), {"odd": frozenset(odd), "far_off": far_off})
    made: Picky = kind(port, limits or Limits())
    return made


@pytest.mark.parametrize("odd", [{0}, {499}, {250}, {3, 4, 5, 77, 200, 201}, set(range(500))])
def test_the_records_named_are_buried_and_the_others_go_on(tmp_path: Path, odd: set[int]) -> None:
    async def main() -> None:
        notices: list[Notice] = []
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(500))
            delivery = it.delivery(picky(far.port, odd), tell=notices.append)
            [cursor] = it.spool.cursors("lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
                    await until(lambda: len(it.letters()) == len(odd))
            assert sorted(far.stored) == sorted(set(range(500)) - odd)
            letters = {json.loads(letter["payload"])["fields"]["n"]: letter for letter in it.letters()}
            assert letters.keys() == odd
            assert all(letter["reason"] == f"{n} is odd" for n, letter in letters.items())
            assert (cursor.ledger.dead, cursor.ledger.delivered) == (len(odd), 500 - len(odd))
            # No trouble of the far side's.
            assert notices == []
            assert not [log for log in logs if "down" in log["event"] or "refuses everything" in log["event"]]
            assert it.value("agent_sink_requests_total", sink="lake", result="unfit") >= 1
        assert audit(tmp_path).balanced

    run(main())


def test_a_batch_of_one_is_buried_without_anything_else_being_accepted(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(picky(far.port, {1, 2, 3, 4, 5}, Limits(records=1)))
            async with it.running(delivery):
                await it.put([1, 2, 3, 4, 5])
                await until(lambda: len(it.letters()) == 5, within=5)
            assert not far.requests
            [cursor] = it.spool.cursors("lake")
            assert cursor.ledger.dead == 5

    run(main())


def test_nothing_is_concluded_from_it_about_a_far_side_that_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        notices: list[Notice] = []
        async with rig(tmp_path) as it, far_side(lambda request: Reply(503)) as far:
            delivery = it.delivery(picky(far.port, {7}), tell=notices.append)
            async with it.running(delivery):
                await it.put([1, 2])
                await until(lambda: len(far.requests) >= 3)
                await it.put([6, 7, 8])
                await until(lambda: len(it.letters()) == 1, within=120, step=0.5)
                assert [notice.what for notice in notices] == ["down"]
                assert it.health.part("sink", "lake").state == "down"
                # Nothing of it can have been taken, and the books say so where it is evicted one day.
                await until(lambda: not delivery.in_flight)
                [cursor] = it.spool.cursors("lake")
                assert {plan.state for plan in cursor.plans if not plan.state.settled} == {State.PLANNED}
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=120, step=0.5)
            assert sorted(far.stored) == [1, 2, 6, 8]
            assert [notice.what for notice in notices] == ["down", "up"]

    run(main())


def test_an_accusation_is_not_proved_by_a_record_that_was_never_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(400)) as far:
            delivery = it.delivery(picky(far.port, set(range(10, 20)), Limits(records=1)))
            async with it.running(delivery):
                await it.put([1])
                await until(lambda: len(far.requests) == 1)
                await it.put(range(10, 20))
                await until(lambda: len(it.letters()) == 10, within=60, step=0.5)
                [cursor] = it.spool.cursors("lake")
                assert cursor.ledger.dead == 0  # number 1 lies before them, and stands accused
                assert delivery.queued() == 11

    run(main())


def test_more_unfit_records_than_there_is_room_for_plans_are_all_found(tmp_path: Path) -> None:
    odd = set(Random(5).sample(range(3000), 1400))

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(3000))
            delivery = it.delivery(picky(far.port, odd, Limits(records=3000, bytes=10 << 20)))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0, within=1000, step=0.5)
                await until(lambda: len(it.letters()) == len(odd))
            assert sorted(far.stored) == sorted(set(range(3000)) - odd)
        assert audit(tmp_path).balanced

    run(main())


def test_a_sink_that_names_records_which_are_not_in_the_batch_has_a_bug_and_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put([1, 2])
            sink = picky(far.port, set(), far_off=(5, -1))
            delivery = it.delivery(sink)
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: [log for log in logs if log["event"] == "bug in a sink"])
                    type(sink).far_off = ()
                    await until(lambda: delivery.queued() == 0, within=300, step=0.5)
            assert far.stored == [1, 2]
            assert it.letters() == []

    run(main())


def test_what_is_buried_for_its_age_by_the_sink_survives_a_restart_in_between(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(lambda request: Reply(then="hang", stores=False)) as far:
            async with rig(tmp_path) as it:
                await it.put(range(20))
                async with it.running(it.delivery(picky(far.port, set()))):
                    await until(lambda: far.open_now == 1)
            far.script = lambda request: Reply()
            async with rig(tmp_path) as it:
                delivery = it.delivery(picky(far.port, {3, 4}))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
                    await until(lambda: len(it.letters()) == 2)
                assert sorted(far.stored) == [n for n in range(20) if n not in (3, 4)]
        assert audit(tmp_path).balanced

    run(main())
