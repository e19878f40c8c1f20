"""Records that grow too old while a far side is away: never sent, booked, and said as one gap."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from farside import FarSide, Post, Reply, far_side
from rig import Rig, Wall, capture_logs, rig
from virtual import later, run, until

from agent.delivery import Notice
from agent.delivery.gaps import Gaps
from agent.options import DeliveryOptions
from agent.ports import Limits
from agent.spool import audit

MINUTE = 1_790_000_040  # one begins
SOAK = pytest.mark.soak
AGED = Limits(window=60.0, max_age=300.0)


def down(request: object) -> Reply:
    return Reply(503)


def gaps(logs: Any) -> list[dict[str, Any]]:
    return [log for log in logs if log["event"] == "records expired"]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def sample(it: Rig, wall: Wall, numbers: range, taken: dict[int, float], every: float = 10.0) -> None:
    for n in numbers:
        taken[n] = wall.now
        await it.put([n])
        await later(every)


def newest_ages(far: FarSide, wall: Wall, taken: dict[int, float]) -> list[float]:
    """How old the newest record of each request was."""
    return [wall.at(request.at) - max(taken[n] for n in request.numbers) for request in far.requests]


@pytest.mark.parametrize(
    "trouble",
    [
        "refused connections",
        "500",
        "throttled",
        *(pytest.param(each, marks=SOAK) for each in ("503", "hanging", "401")),
    ],
)
def test_an_outage_of_twenty_minutes_is_one_gap_equal_to_what_is_missing(tmp_path: Path, trouble: str) -> None:
    replies = {
        "503": Reply(503),
        "500": Reply(500),
        "hanging": Reply(then="hang", stores=False),
        "401": Reply(401),
        "throttled": Reply(429, headers={"retry-after": "120"}),
    }

    async def main() -> None:
        taken: dict[int, float] = {}
        notices: list[Notice] = []
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 5)
            sink = Post(far.port, AGED)
            delivery = it.delivery(sink, tell=notices.append)
            [cursor] = it.spool.cursors("lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    await sample(it, wall, range(12), taken)  # two minutes of good business
                    port = far.port
                    if trouble == "refused connections":
                        object.__setattr__(sink, "port", 1)
                    else:
                        far.script = lambda request: replies[trouble]
                    began = wall.now
                    await sample(it, wall, range(12, 132), taken)
                    ended = wall.now
                    assert not gaps(logs)
                    assert far.stored, "nothing was taken before the outage"
                    object.__setattr__(sink, "port", port)
                    far.script = lambda request: Reply()
                    await sample(it, wall, range(132, 156), taken)
                    await until(lambda: delivery.queued() == 0, within=200, step=0.5)
                [gap] = gaps(logs)
            missing = sorted(set(taken) - set(far.stored))
            assert cursor.ledger.expired == gap["records"] == len(missing) > 60
            assert missing == list(range(missing[0], missing[-1] + 1))
            # From and to are when the first and the last of them were taken in.
            assert seconds(gap["from"]) == pytest.approx(taken[missing[0]], abs=0.1)
            assert seconds(gap["to"]) == pytest.approx(taken[missing[-1]], abs=0.1)
            assert gap["log_level"] == "error"
            assert max(newest_ages(far, wall, taken)) <= 300.5
            assert cursor.ledger.delivered == len(set(far.stored)) == len(far.stored)
            [told] = [notice for notice in notices if notice.what == "gap"]
            assert (told.sink, told.records) == ("lake", len(missing))
            assert told.since_ms / 1000 == pytest.approx(taken[missing[0]], abs=0.1)
            states = [notice for notice in notices if notice.what != "gap"]
            assert [notice.what for notice in states] == ["down", "up"]
            assert began <= states[0].since_ms / 1000 <= ended
            assert states[0].until_ms is None
            assert states[1].since_ms == states[0].since_ms
            assert (states[1].until_ms or 0) / 1000 >= ended
        assert audit(tmp_path).balanced

    run(main())


def test_a_planned_batch_that_was_maybe_taken_expires_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(500, stores=True)) as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(max_age=100.0)))
            [cursor] = it.spool.cursors("lake")
            async with it.running(delivery):
                await it.put(range(5))
                await until(lambda: delivery.queued() == 0, within=200, step=0.5)
            assert (cursor.ledger.expired, cursor.ledger.delivered) == (5, 0)
            assert max(request.at for request in far.requests) <= far.requests[0].at + 100
        assert audit(tmp_path).balanced

    run(main())


def test_a_batch_resumed_after_a_restart_learns_its_age_before_it_is_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(down) as far:
            async with rig(tmp_path) as it:
                wall = it.clock(MINUTE)
                async with it.running(it.delivery(Post(far.port, Limits(max_age=300.0)))):
                    await it.put(range(500))
                    await until(lambda: far.requests)
            far.script = lambda request: Reply()
            before = len(far.requests)
            async with rig(tmp_path) as it:
                wall = it.clock(MINUTE)
                await later(400)
                assert wall.now >= MINUTE + 400
                await it.put([500])
                delivery = it.delivery(Post(far.port, Limits(max_age=300.0)))
                with capture_logs() as logs:
                    async with it.running(delivery):
                        await until(lambda: delivery.queued() == 0)
                assert [request.numbers for request in far.requests[before:]] == [[500]]
                assert [gap["records"] for gap in gaps(logs)] == [500]
                [cursor] = it.spool.cursors("lake")
                assert (cursor.ledger.expired, cursor.ledger.delivered) == (500, 1)
        assert audit(tmp_path).balanced

    run(main())


def test_what_no_clock_can_date_never_expires(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(down) as far:
            it.clock(MINUTE)
            clock = it.spool.lanes["all"]._clock
            ours, clock.boot = clock.boot, b"x" * 16
            clock.known_ms = (
                MINUTE + 10**6
            ) * 1000  # this clock is not believed: so frames of another boot have no age
            await it.put(range(10))
            clock.boot = ours
            delivery = it.delivery(Post(far.port, Limits(max_age=60.0)))
            async with it.running(delivery):
                await later(600)
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=120, step=0.5)
            assert far.stored == list(range(10))

    run(main())


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_is_set_makes_no_planned_batch_older(tmp_path: Path, step: float) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(down) as far:
            wall = it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(max_age=300.0)))
            async with it.running(delivery):
                await it.put(range(10))
                await until(lambda: far.requests)
                wall.step(step)
                await later(120)
                assert it.value("agent_sink_lag_seconds", sink="lake") == pytest.approx(120, abs=2)
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=120, step=0.5)
            assert far.stored == list(range(10))
            # And none younger: the next outage expires as it should.
            far.script = down
            async with it.running(delivery):
                await it.put([10])
                await until(lambda: len(far.requests) > 2)
                wall.step(-step)
                await later(330)
                assert delivery.queued() == 0
            assert 10 not in far.stored

    run(main())


def test_a_gap_that_goes_on_is_said_once_an_hour_and_what_is_said_adds_up() -> None:
    notices: list[Notice] = []
    gap = Gaps("lake", 300.0, notices.append)
    with capture_logs() as logs:
        for now in range(0, 9000, 30):
            gap.add(2, (MINUTE + now - 301) * 1000, (MINUTE + now - 300) * 1000, float(now))
            gap.remind(float(now))
        gap.say(9000.0)  # the agent stops
        gap.say(9001.0)
    found = gaps(logs)
    assert [notice.records for notice in notices] == [each["records"] for each in found] == [242, 242, 116]
    assert all(left["to"] < right["from"] for left, right in pairwise(found))
    assert found[0]["from"] == "2026-09-21T14:08:59.000Z"
    assert found[0]["reason"] == "older than 5m"


def test_what_is_still_to_be_said_is_said_when_the_agent_stops(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(down) as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(max_age=60.0)))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await it.put(range(7))
                    await until(lambda: delivery.queued() == 0, within=200, step=0.5)
                    assert not gaps(logs)
                assert [gap["records"] for gap in gaps(logs)] == [7]

    run(main())


def test_what_is_too_old_makes_room_though_its_turn_does_not_come(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(429, headers={"retry-after": "3000"})) as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(max_age=60.0)))
            async with it.running(delivery):
                await it.put(range(7))
                await until(lambda: delivery.queued() == 0, within=100, step=0.5)
                assert len(far.requests) == 1

    run(main())


def test_what_grew_too_old_just_before_the_sink_takes_something_again_is_of_that_gap(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(429, headers={"retry-after": "100"})) as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(max_age=99.0)))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await it.put(range(7))
                    await until(lambda: far.requests)
                    far.script = lambda request: Reply()
                    await later(60)
                    await it.put([10])
                    await until(lambda: delivery.queued() == 0, within=100, step=0.1)
                    assert far.stored == [10]
                    assert [gap["records"] for gap in gaps(logs)] == [7]

    run(main())


def test_a_sink_that_is_always_too_slow_says_so_once_a_minute(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, Limits(records=1, max_age=3.0)))
            [cursor] = it.spool.cursors("lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    for start in range(0, 1000, 4):
                        await it.put([start], age=4.0)
                        await it.put([start + 1])
                        await later(1.0)
                found = gaps(logs)
            assert cursor.ledger.expired == 250 == sum(gap["records"] for gap in found)
            assert 4 <= len(found) <= 6

    run(main())


def test_what_is_evicted_is_said_by_the_spool_alone(tmp_path: Path) -> None:
    def small(settings: dict[str, object]) -> None:
        settings.update(max_bytes=1 << 20, segment_bytes=128 << 10)

    async def main() -> None:
        async with rig(tmp_path, change=small) as it, far_side(down) as far:
            it.clock(MINUTE)
            delivery = it.delivery(Post(far.port, AGED))
            [cursor] = it.spool.cursors("lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    for start in range(0, 2000, 100):
                        await it.put(range(start, start + 100), pad=1000)
                    await until(lambda: cursor.ledger.evicted, within=30)
                    far.script = lambda request: Reply()
                    await until(lambda: delivery.queued() == 0, within=200, step=0.5)
            assert not gaps(logs)
            assert [log for log in logs if "given up" in log["event"]]

    run(main())


def test_the_age_limit_is_the_operators_else_the_smaller_of_the_plugins_and_the_spools() -> None:
    day = 86400.0
    assert DeliveryOptions().longest_wait(Limits(), day) == day
    assert DeliveryOptions().longest_wait(Limits(max_age=300.0), day) == 300.0
    assert DeliveryOptions().longest_wait(Limits(max_age=3 * day), day) == day
    assert DeliveryOptions(max_age=2 * day).longest_wait(Limits(max_age=300.0), day) == 2 * day
    assert DeliveryOptions(max_age=10.0).over(Limits(window=60.0)).window == 60.0


def test_notices_tell_of_a_sink_that_cannot_open_and_of_one_that_refuses(tmp_path: Path) -> None:
    attempts: list[int] = []

    class Shy(Post):
        def open(self) -> Any:
            attempts.append(1)
            if len(attempts) < 4:
                raise OSError("no such directory")
            return super().open()

    async def main() -> None:
        notices: list[Notice] = []
        async with rig(tmp_path) as it, far_side(lambda request: Reply(400)) as far:
            await it.put(range(30))
            delivery = it.delivery(Shy(far.port), tell=notices.append)
            async with it.running(delivery):
                await until(lambda: any(notice.what == "refusing" for notice in notices), within=600, step=0.5)
                far.script = lambda request: Reply()
                await until(lambda: delivery.queued() == 0, within=600, step=0.5)
                await asyncio.sleep(0)
            assert [notice.what for notice in notices] == ["down", "up", "refusing", "up"]
            assert "no such directory" in notices[0].reason
            assert notices[2].records > 0
            assert notices[3].reason == notices[2].reason

    run(main())
