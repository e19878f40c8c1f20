"""Refusals, suspects and dead letters, over a real spool and a real socket."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
from farside import FarSide, Post, Reply, Request, far_side, refuse
from rig import Rig, capture_logs, rig
from virtual import later, run, until

from agent.errors import Unfit
from agent.ports import Limits
from agent.record import Run


async def delivered(rig: Rig, far: FarSide, wanted: set[int], within: float = 600.0) -> None:
    await until(lambda: set(far.stored) >= wanted, within=within, step=0.1)


@pytest.mark.parametrize("guilty", [0, 237, 498])
def test_one_bad_record_among_500_is_found_in_20_requests_and_the_others_are_stored(
    tmp_path: Path, guilty: int
) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(refuse(guilty)) as far:
            await it.put(range(500))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
                await until(lambda: len(it.letters()) == 1)
            assert len(far.requests) <= 20
            assert sorted(far.stored) == [n for n in range(500) if n != guilty]
            [letter] = it.letters()
            assert letter["sink"] == "lake"
            assert letter["status"] == 400
            assert letter["answer"] == "bad record"
            assert f'"n":{guilty},' in letter["payload"]
            assert letter["encoding"] == "json"
            [cursor] = it.spool.cursors("lake")
            assert letter["id"].endswith(f"-{guilty}")
            assert (cursor.ledger.delivered, cursor.ledger.dead) == (499, 1)
            assert it.value("agent_sink_records_total", sink="lake", outcome="dead") == 1
            assert it.value("agent_sink_records_total", sink="lake", outcome="delivered") == 499

    run(main())


def test_twenty_bad_records_among_500_end_in_exactly_twenty_dead_letters(tmp_path: Path) -> None:
    bad = set(Random(5).sample(range(500), 20))

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(refuse(*bad)) as far:
            await it.put(range(1100))
            delivery = it.delivery(Post(far.port), in_flight=4)
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0, within=600, step=0.1)
                await until(lambda: len(it.letters()) == 20)
            assert sorted(far.stored) == [n for n in range(1100) if n not in bad]
            assert {int(letter["id"].rsplit("-", 1)[1]) for letter in it.letters()} == bad

    run(main())


def test_a_far_side_that_refuses_everything_for_ten_minutes_costs_no_record(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(400, "bad envelope")) as far:
            await it.put(range(2000))
            delivery = it.delivery(Post(far.port))
            part = it.health.part("sink", "lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: part.state == "refusing")
                    began = far.requests[0].at
                    assert len(far.requests) <= 20
                    await until(lambda: far.requests[-1].at > began + 600, within=900, step=1)
                    assert len(far.requests) < 120
                    late = [request.at for request in far.requests if request.at > began + 120]
                    assert max(b - a for a, b in itertools.pairwise(late)) <= 61
                    assert not far.stored
                    assert len({request.id for request in far.requests[20:]}) >= 5
                    far.script = lambda request: Reply()
                    await until(lambda: delivery.queued() == 0, within=300, step=1)
            assert sorted(far.stored) == list(range(2000))
            assert it.letters() == []
            assert part.state == "up"
            assert [log["event"] for log in logs if log.get("sink") == "lake"] == [
                "sink refuses everything",
                "sink up again",
            ]
            assert logs[0]["log_level"] == "error"

    run(main())


def test_a_batch_that_breaks_the_far_side_is_parked_and_its_bad_record_found(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply(500, "oops") if 3 in request.numbers else Reply()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(script) as far:
            await it.put(range(8))
            delivery = it.delivery(Post(far.port), batch_records=8)
            with capture_logs() as logs:
                async with it.running(delivery):
                    for n in range(100, 1300):
                        await it.put([n])
                        await until(lambda n=n: n in far.stored, within=300)
                        if it.value("agent_sink_records_total", outcome="dead"):
                            break
                        await later(1)
                    await until(lambda: len(it.letters()) == 1)
            whole = [request for request in far.requests if request.numbers == list(range(8))]
            assert 5 <= len(whole) <= 8  # only those with a success of others between count
            assert len([request for request in far.requests if request.numbers == [3]]) >= 5
            assert {0, 1, 2, 4, 5, 6, 7} <= set(far.stored)
            assert it.letters()[0]["status"] == 500
            # Never down: others went through all the while.
            assert [log["event"] for log in logs] == ["records refused, kept as dead letters"]

    run(main())


def test_a_named_record_is_tried_alone_without_searching_for_it(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        named = [str(i) for i, n in enumerate(request.numbers) if n in (7, 300)]
        return Reply(400, "bad", {"Only": ",".join(named)}) if named else Reply()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(script) as far:
            await it.put(range(500))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert [len(request.numbers) for request in far.requests] == [500, 7, 1, 292, 1, 1, 199, 1]
            assert sorted(far.stored) == [n for n in range(500) if n not in (7, 300)]

    run(main())


def test_records_known_to_be_unfit_are_dead_lettered_at_once_though_the_far_side_is_away(tmp_path: Path) -> None:
    class Choosy(Post):
        def encode(self, run: Run) -> bytes:
            odd = {i: "odd numbers have no place here" for i, one in enumerate(run.records()) if b'"n":13,' in one}
            if odd:
                raise Unfit(odd)
            return super().encode(run)

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(503)) as far:
            await it.put(range(30))
            delivery = it.delivery(Choosy(far.port))
            async with it.running(delivery):
                await until(lambda: len(it.letters()) == 1)
                assert it.letters()[0]["reason"] == "odd numbers have no place here"
                assert it.letters()[0]["status"] is None
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=300)
            assert sorted(far.stored) == [n for n in range(30) if n != 13]

    run(main())


def test_after_too_large_the_next_batches_are_smaller_and_grow_again(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply(413) if len(request.body) > 20_000 else Reply()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(script) as far:
            await it.put(range(1000), pad=50)
            delivery = it.delivery(Post(far.port, Limits(records=500, bytes=512 * 1024)))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
                first = len([request for request in far.requests if len(request.body) > 20_000])
                await it.put(range(1000, 3000), pad=50)
                await until(lambda: delivery.queued() == 0)
            assert sorted(far.stored) == list(range(3000))
            assert it.letters() == []
            # Batches that were planned before the lesson pay for it; later ones do not.
            assert first >= 1
            assert len([request for request in far.requests if len(request.body) > 20_000]) == first

    run(main())


def test_a_record_that_is_too_large_by_itself_is_refused_like_any_other(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply(413) if len(request.body) > 5_000 else Reply()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(script) as far:
            await it.put([0, 1])
            await it.put([2], pad=6_000)
            await it.put([3, 4])
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
                await until(lambda: len(it.letters()) == 1)
            assert sorted(far.stored) == [0, 1, 3, 4]
            assert it.letters()[0]["status"] == 413

    run(main())


def test_a_bug_in_a_sink_costs_no_record_and_is_told_once(tmp_path: Path) -> None:
    broken = True

    class Buggy(Post):
        async def send(self, parcel: object) -> None:
            if broken:
                raise KeyError("a bug")
            await super().send(parcel)  # type: ignore[arg-type]

    async def main() -> None:
        nonlocal broken
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(10))
            delivery = it.delivery(Buggy(far.port))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: it.value("agent_sink_requests_total", result="bug") >= 6, within=600)
                    broken = False
                    await until(lambda: delivery.queued() == 0, within=120)
            assert sorted(far.stored) == list(range(10))
            assert len([log for log in logs if log["event"] == "bug in a sink"]) == 1

    run(main())


def test_a_record_over_which_the_sink_breaks_while_encoding_stops_no_other(tmp_path: Path) -> None:
    class Fragile(Post):
        def encode(self, run: Run) -> bytes:
            if b'"n":5,' in run.body:
                raise ZeroDivisionError
            return super().encode(run)

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(10))
            delivery = it.delivery(Fragile(far.port))
            async with it.running(delivery):
                await delivered(it, far, set(range(10)) - {5})
                for n in range(100, 200):
                    await it.put([n])
                    await delivered(it, far, {n})
                    if it.value("agent_sink_records_total", outcome="dead"):
                        break
                    await later(20)
                await until(lambda: len(it.letters()) == 1)
            assert "ZeroDivisionError" in it.letters()[0]["reason"]

    run(main())
