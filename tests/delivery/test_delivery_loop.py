"""Batches, names, retries, restarts and limits, over a real spool and a real socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from farside import Post, Reply, Request, far_side
from rig import capture_logs, rig
from virtual import later, run, soon, until

from agent.delivery import Bodies
from agent.errors import Unfit
from agent.ports import Limits
from agent.record import Run
from agent.spool import Part, Reader


def test_the_first_record_after_a_quiet_time_goes_at_once_and_the_next_ones_together(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Post(far.port, Limits(linger=5.0)))
            async with it.running(delivery):
                await later(1)
                clock = asyncio.get_running_loop().time
                began = clock()
                await it.put([1])
                await until(lambda: far.stored == [1])
                assert far.requests[0].at - began < 0.5
                for n in (2, 3, 4):
                    await it.put([n])
                    await later(0.5)
                await until(lambda: far.stored == [1, 2, 3, 4])
                assert [request.numbers for request in far.requests] == [[1], [2, 3, 4]]
                assert far.requests[1].at - far.requests[0].at >= 4.9
                # A batch that is full waits for nothing.
                began = clock()
                await it.put(range(1000, 1500))
                await until(lambda: len(far.stored) == 504)
                assert far.requests[2].at - began < 1.0

    run(main())


def test_batches_keep_within_the_limits_and_the_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(1234), pad=20)
            delivery = it.delivery(Post(far.port), batch_records=100, batch_bytes=5_000)
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert far.stored == list(range(1234))
            assert max(len(request.body) for request in far.requests) <= 5_000
            assert far.most_open == 1
            assert it.value("agent_sink_requests_total", sink="lake", result="accepted") == len(far.requests)
            assert it.value("agent_sink_bytes_total", sink="lake") == sum(len(r.body) for r in far.requests)
            assert it.value("agent_sink_queued_records", sink="lake") == 0

    run(main())


def test_several_batches_are_on_their_way_at_once_and_no_more_than_allowed(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            far.gate = asyncio.Event()
            await it.put(range(5000))
            delivery = it.delivery(Post(far.port, Limits(in_flight=4)))
            async with it.running(delivery):
                await until(lambda: far.open_now == 4)
                await later(5)
                assert far.open_now == 4
                [cursor] = it.spool.cursors("lake")
                assert cursor.position == 0
                far.gate.set()
                await until(lambda: delivery.queued() == 0)
            assert sorted(far.stored) == list(range(5000))
            assert far.most_open == 4

    run(main())


def test_a_failure_that_stored_is_sent_again_under_the_same_name_with_the_same_bytes(tmp_path: Path) -> None:
    outcomes = [
        Reply(500, stores=True),
        Reply(then="reset", stores=True),
        Reply(then="hang", stores=True),
        Reply(then="reset"),
    ]

    def script(request: Request) -> Reply:
        return outcomes.pop(0) if outcomes else Reply()

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(script) as far:
            await it.put(range(300))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0, within=300)
            assert len({(request.id, request.body) for request in far.requests}) == 1
            assert len(far.requests) == 5
            assert it.value("agent_sink_retries_total", sink="lake") == 4

    run(main())


def test_a_batch_cut_off_by_the_end_of_the_agent_goes_on_under_its_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(lambda request: Reply(then="hang", stores=True)) as far:
            async with rig(tmp_path) as it:
                await it.put(range(800))
                async with it.running(it.delivery(Post(far.port, Limits(in_flight=2)))):
                    await until(lambda: far.open_now == 2)
            cut = {request.id: request.body for request in far.requests}
            assert len(cut) == 2
            far.script = lambda request: Reply()
            async with rig(tmp_path) as it:
                # More has come meanwhile; it does not change what a batch holds.
                await it.put(range(800, 1000))
                delivery = it.delivery(Post(far.port))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
            again = {request.id: request.body for request in far.requests[2:]}
            assert all(again[name] == body for name, body in cut.items())
            assert {n for body in far.batches.values() for n in numbers(body)} == set(range(1000))

    run(main())


def numbers(body: bytes) -> list[int]:
    return [record["fields"]["n"] for record in json.loads(body)]


def test_planned_batches_that_would_now_be_other_bytes_get_new_names_and_are_counted(tmp_path: Path) -> None:
    class Wrapped(Post):
        def encode(self, run: Run) -> bytes:
            return b"[ %b ]" % run.body

    async def main() -> None:
        async with far_side(lambda request: Reply(then="hang")) as far:
            async with rig(tmp_path) as it:
                await it.put(range(100))
                async with it.running(it.delivery(Post(far.port))):
                    await until(lambda: far.open_now == 1)
            far.script = lambda request: Reply()
            async with rig(tmp_path) as it:
                delivery = it.delivery(Wrapped(far.port))
                with capture_logs() as logs:
                    async with it.running(delivery):
                        await until(lambda: delivery.queued() == 0)
                [cursor] = it.spool.cursors("lake")
                assert cursor.ledger.renamed == 1
            first, second = far.requests
            assert first.id != second.id
            assert first.id.rsplit("-", 1)[0] == second.id.rsplit("-", 1)[0]
            assert len([log for log in logs if "renamed" in log["event"]]) == 1

    run(main())


def test_no_batch_is_sent_before_its_plan_is_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            [cursor] = it.spool.cursors("lake")
            seen: list[tuple[str, bool]] = []

            def script(request: Request) -> Reply:
                plans = cursor.mark.value["plans"] if cursor.mark.value else []
                seen.append((request.id, any(request.id.startswith(str(plan[0])) for plan in plans)))
                return Reply()

            far.script = script
            await it.put(range(1700))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert len(seen) == 4
            assert all(planned for _, planned in seen)

    run(main())


def test_a_pause_that_is_asked_for_is_kept_and_is_no_news(tmp_path: Path) -> None:
    replies = [Reply(429, headers={"Retry-After": "20"})]

    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: replies.pop() if replies else Reply()) as far:
            await it.put(range(10))
            delivery = it.delivery(Post(far.port))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
            assert far.requests[1].at - far.requests[0].at >= 20
            assert [log for log in logs if log.get("sink") == "lake"] == []

    run(main())


def test_refused_credentials_keep_everything_and_call_for_a_person_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(401)) as far:
            await it.put(range(700))
            delivery = it.delivery(Post(far.port))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await later(4000)
                    part = it.health.part("sink", "lake")
                    assert part.state == "down"
                    assert "credentials refused" in part.reason
                    assert delivery.queued() == 700
                    assert 60 < len(far.requests) < 60 * 4
                    far.script = lambda request: Reply()
                    await until(lambda: delivery.queued() == 0, within=120, step=1)
            assert sorted(far.stored) == list(range(700))
            assert [(log["event"], log["log_level"]) for log in logs if log.get("sink") == "lake"] == [
                ("sink needs a person", "error"),
                ("sink has not recovered", "warning"),
                ("sink up again", "info"),
            ]

    run(main())


def test_an_outage_is_said_once_and_closed_with_its_numbers(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(5))
            delivery = it.delivery(Post(far.port))
            part = it.health.part("sink", "lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
                    assert part.state == "up"
                    far.script = lambda request: Reply(503)
                    await it.put(range(5, 10))
                    await until(lambda: len(far.requests) >= 12, within=600, step=1)
                    assert part.state == "down"
                    assert part.reason == "not now (status 503)"
                    far.script = lambda request: Reply()
                    await until(lambda: delivery.queued() == 0, within=120)
            down, up = (log for log in logs if log.get("sink") == "lake")
            assert (down["event"], down["queued"], down["log_level"]) == ("sink down", 5, "warning")
            assert up["event"] == "sink up again"
            assert up["tries"] >= 11
            assert up["seconds"] > 60

    run(main())


def test_a_body_that_waits_long_is_dropped_and_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(503)) as far:
            await it.put(range(500))
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: far.requests)
                assert it.bodies.held > 0
                await until(lambda: it.bodies.held == 0, within=1200, step=1)
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=120)
            assert len({(request.id, request.body) for request in far.requests}) == 1
            assert it.bodies.held == 0

    run(main())


def test_a_hanging_sink_takes_no_memory_from_another(tmp_path: Path) -> None:
    sinks = (Reader("lake", "all"), Reader("stuck", "all"))

    async def main() -> None:
        async with (
            rig(tmp_path, sinks=sinks, bodies=Bodies(100_000)) as it,
            far_side(lambda request: Reply(then="hang")) as tar,
            far_side() as far,
        ):
            await it.put(range(4000), pad=100)
            stuck = it.delivery(Post(tar.port, Limits(in_flight=16), timeout=1e6), "stuck")
            healthy = it.delivery(Post(far.port, Limits(in_flight=2)), "lake")
            async with it.running(stuck):
                await until(lambda: tar.open_now >= 1)
                async with it.running(healthy):
                    await until(lambda: healthy.queued() == 0)
                    assert it.bodies.held <= 100_000 + 2 * 90_000
            assert sorted(far.stored) == list(range(4000))
            assert stuck.queued() == 4000

    run(main())


def test_records_past_their_age_are_expired_when_a_batch_is_formed(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(700), age=7200)
            await it.put(range(700, 750), age=1800)
            delivery = it.delivery(Post(far.port), max_age=3600.0)
            async with it.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert far.stored == list(range(700, 750))
            [cursor] = it.spool.cursors("lake")
            assert (cursor.ledger.expired, cursor.ledger.delivered) == (700, 50)
            assert it.value("agent_sink_records_total", sink="lake", outcome="expired") == 700

    run(main())


def test_what_is_evicted_is_cancelled_and_the_rest_goes_on(tmp_path: Path) -> None:
    def small(settings: dict[str, object]) -> None:
        settings.update(max_bytes=1 << 20, segment_bytes=128 << 10)

    async def main() -> None:
        async with rig(tmp_path, change=small) as it, far_side(lambda request: Reply(503, then="hang")) as far:
            await it.put(range(100), pad=1000)
            delivery = it.delivery(Post(far.port, timeout=1e6))
            async with it.running(delivery):
                await until(lambda: far.open_now == 1)
                [cursor] = it.spool.cursors("lake")
                for start in range(1000, 4000, 50):
                    await it.put(range(start, start + 50), pad=1000)
                await until(lambda: cursor.ledger.evicted >= 100, within=30)
                # The one that hung was cancelled, and another has taken its place.
                await until(lambda: len(far.requests) >= 2, within=30)
                assert "lake: 0" not in {task.get_name() for task in asyncio.all_tasks()}
                # Until the last eviction is done: a batch that is taken and evicted at once is booked as evicted.
                await until(lambda: it.spool.pending_bytes == 0 and it.spool.bytes <= 1 << 20, within=30)
                far.script = lambda request: Reply()
                # A batch that hangs and was not evicted is given up by delivery itself.
                await until(lambda: delivery.queued() == 0, within=1000, step=0.5)
            ledger = cursor.ledger
            assert ledger.evicted_maybe_taken >= 100
            assert ledger.delivered == len(far.stored)
            assert ledger.sum == 3100
            assert far.stored[-1] == 3999
            assert it.value("agent_sink_records_total", sink="lake", outcome="evicted") == ledger.evicted

    run(main())


def test_what_was_surely_not_taken_is_not_booked_as_maybe_taken_when_it_is_evicted(tmp_path: Path) -> None:
    def small(settings: dict[str, object]) -> None:
        settings.update(max_bytes=1 << 20, segment_bytes=128 << 10)

    async def main() -> None:
        async with rig(tmp_path, change=small) as it, far_side(lambda request: Reply(503)) as far:
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                for start in range(0, 3000, 50):
                    await it.put(range(start, start + 50), pad=1000)
                [cursor] = it.spool.cursors("lake")
                await until(lambda: cursor.ledger.evicted >= 100, within=30)
                assert far.requests
                assert cursor.ledger.evicted_maybe_taken == 0

    run(main())


def test_a_former_lane_is_drained_first_and_then_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path, sinks=(Reader("lake", "sel-old"),)) as it:
                await it.put(range(1200), lane="sel-old")
            async with rig(tmp_path, sinks=(Reader("lake", "all"),)) as it:
                await it.put(range(5000, 5100))
                assert [cursor.lane.name for cursor in it.spool.cursors("lake")] == ["sel-old", "all"]
                delivery = it.delivery(Post(far.port))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
                    await until(lambda: [c.lane.name for c in it.spool.cursors("lake")] == ["all"])
            assert far.stored == [*range(1200), *range(5000, 5100)]

    run(main())


def test_a_bad_record_at_the_end_of_a_former_lane_gets_its_contrast_from_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(lambda r: Reply(400) if 9 in r.numbers else Reply()) as far:
            async with rig(tmp_path, sinks=(Reader("lake", "sel-old"),)) as it:
                await it.put(range(10), lane="sel-old")
            async with rig(tmp_path, sinks=(Reader("lake", "all"),)) as it:
                await it.put(range(100, 110))
                delivery = it.delivery(Post(far.port))
                async with it.running(delivery):
                    await until(lambda: len(it.spool.cursors("lake")) == 1, within=120)
                    await until(lambda: len(it.letters()) == 1)
            assert sorted(far.stored) == [*range(9), *range(100, 110)]

    run(main())


def test_draining_waits_for_what_can_go_and_not_for_a_far_side_that_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Post(far.port, Limits(linger=3000.0)))
            async with it.running(delivery):
                await it.put([1])
                await until(lambda: far.stored == [1])
                await it.put([2])
                assert await soon(delivery.drained(), within=5)
                assert far.stored == [1, 2]
                far.script = lambda request: Reply(503)
                await it.put([3])
                assert not await soon(delivery.drained(), within=5)

    run(main())


def test_a_sink_that_cannot_be_opened_is_tried_until_it_can(tmp_path: Path) -> None:
    class Shy(Post):
        def open(self) -> object:  # type: ignore[override]
            if len(attempts) < 4:
                attempts.append(1)
                raise OSError("no such directory")
            return super().open()

    attempts: list[int] = []

    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put(range(3))
            delivery = it.delivery(Shy(far.port))  # type: ignore[arg-type]
            async with it.running(delivery):
                await until(lambda: it.health.part("sink", "lake").state == "down")
                await until(lambda: delivery.queued() == 0)
            assert far.stored == [0, 1, 2]

    run(main())


def test_the_beat_is_kept_through_an_outage_and_while_idle(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(503)) as far:
            part = it.health.part("sink", "lake")
            delivery = it.delivery(Post(far.port))
            async with it.running(delivery):
                await until(lambda: part.due != float("inf"))
                idle = part.due
                await later(60)
                assert part.due >= idle
                await it.put([1])
                await until(lambda: far.requests)
                assert it.health.overdue() == []

    run(main())


def test_records_of_a_wrong_clock_are_put_right_and_a_devices_own_time_is_not(tmp_path: Path) -> None:
    # In the pure half of forming: how the offset comes about is the spool's.
    from array import array

    from agent.delivery.form import draft

    wrong, offset = 1_000_000_000_000, 700_000_000_000
    own = 1_650_000_000_000
    records = [b'{"ts":%d,"fields":{"n":1}}' % ts for ts in (wrong, wrong + 500, own)]
    run_ = Run(
        7,
        0,
        b",".join(records),
        array("I", map(len, records)),
        wrong + offset,
        wrong + 500 + offset,
        clock_offset_ms=offset,
    )

    [made] = draft(Post(0), run_, 1e9)
    assert made.body is not None
    assert [record["ts"] for record in json.loads(made.body)] == [wrong + offset, wrong + 500 + offset, own]


def test_sinks_of_single_records_need_no_plan_on_disk_and_lose_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path) as it:
                await it.put(range(50))
                delivery = it.delivery(Post(far.port, Limits(records=1)))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
            assert far.stored == list(range(50))
            assert {len(request.numbers) for request in far.requests} == {1}

    run(main())


def test_a_damaged_stretch_is_booked_and_what_stands_around_it_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path) as it:
                for start in range(0, 300, 100):
                    await it.put(range(start, start + 100))
            [segment] = [path for path in tmp_path.rglob("*") if path.is_file() and b'"n":150,' in path.read_bytes()]
            data = bytearray(segment.read_bytes())
            data[data.index(b'"n":150,') + 5] ^= 1
            segment.write_bytes(data)
            async with rig(tmp_path) as it:
                delivery = it.delivery(Post(far.port))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
                [cursor] = it.spool.cursors("lake")
                assert (cursor.ledger.delivered, cursor.ledger.damaged) == (200, 100)
            assert far.stored == [*range(100), *range(200, 300)]

    run(main())


def test_records_of_two_segments_are_never_one_batch(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            for start in (0, 10):
                async with rig(tmp_path) as it:
                    await it.spool.append([Part("all", "plant", [one(n) for n in range(start, start + 10)], 1)])
            async with rig(tmp_path) as it:
                delivery = it.delivery(Post(far.port), max_age=1e10)
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0)
            assert [request.numbers for request in far.requests] == [list(range(10)), list(range(10, 20))]
            assert len({request.id.split("-")[0] for request in far.requests}) == 2

    def one(n: int) -> bytes:
        return b'{"ts":1,"fields":{"n":%d}}' % n

    run(main())


def test_a_planned_batch_of_which_half_has_become_unfit_is_sent_without_that_half(tmp_path: Path) -> None:
    class Odd(Post):
        def encode(self, run: Run) -> bytes:
            odd = {i: "odd" for i, one in enumerate(run.records()) if json.loads(one)["fields"]["n"] % 2}
            if odd:
                raise Unfit(odd)
            return super().encode(run)

    async def main() -> None:
        async with far_side(lambda request: Reply(503, then="hang")) as far:
            async with rig(tmp_path) as it:
                await it.put(range(500))
                async with it.running(it.delivery(Post(far.port))):
                    await until(lambda: far.open_now == 1)
            far.script = lambda request: Reply()
            async with rig(tmp_path) as it:
                delivery = it.delivery(Odd(far.port))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0, within=600)
                    await until(lambda: len(it.letters()) == 250)
                [cursor] = it.spool.cursors("lake")
                assert (cursor.ledger.delivered, cursor.ledger.dead, cursor.ledger.renamed) == (250, 250, 0)
            assert sorted(far.stored) == list(range(0, 500, 2))

    run(main())
