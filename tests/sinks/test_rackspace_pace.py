"""How fast events may go, and what the tenant's limits do to it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from far_side import run
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import Throttled
from agent.http import Answer
from agent.sinks.rackspace.pace import MAX_BURST, MAX_WAIT, Pace
from agent.sinks.rackspace.quota import ASK_AFTER, ASK_EVERY, Quota, allowances

NOW = 1_700_000_000.0


def at(seconds: float, *, zone: str = "Z") -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", zone)


def limits(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"limits": {"rate": [{"uri": "/v2.0/*", "regex": ".*", "limit": list(entries)}]}}).encode()


def entry(
    remaining: float, *, value: float = 1000, unit: str = "MINUTE", ends: float = 30, **more: Any
) -> dict[str, Any]:
    return {"verb": "ALL", "value": value, "remaining": remaining, "unit": unit, "next-available": at(ends), **more}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 600), st.lists(st.floats(0, 5), max_size=80))
def test_no_minute_holds_more_than_the_rate_and_the_burst(rate: int, gaps: list[float]) -> None:
    pace, now, went = Pace(rate), 1000.0, []
    for gap in gaps:
        now = max(now + gap, went[-1] if went else 0.0)
        when = pace.at(now)
        pace.charge(now)
        went.append(when)
    for start in went:
        assert sum(start <= each < start + 60 for each in went) <= rate + min(MAX_BURST, max(1, rate / 10)) + 1


def test_a_few_go_at_once_and_the_others_evenly() -> None:
    pace = Pace(60)
    moments = []
    for _ in range(10):
        moments.append(pace.at(0.0))
        pace.charge(0.0)
    assert moments == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]


def test_slowed_down_it_has_no_burst_and_recovers() -> None:
    pace = Pace(60)
    pace.slow_down(0.1, 25.0, 0.0)
    moments, now = [], 0.0
    for _ in range(5):
        now = pace.at(now)
        moments.append(now)
        pace.charge(now)
    assert moments == [0, 10, 20, 30, 30]  # then there is a burst again


def test_closed_nothing_goes() -> None:
    pace = Pace(60)
    pace.close(40.0, 0.0)
    assert pace.at(0.0) == 40.0


def test_who_is_cancelled_while_waiting_leaves_its_turn_to_the_next() -> None:
    async def main() -> None:
        pace = Pace(60)
        now = asyncio.get_running_loop().time()
        for _ in range(6):
            await pace.turn()
        before = pace.at(now)
        task = asyncio.create_task(pace.turn())
        await asyncio.sleep(0)
        assert pace.at(now) == pytest.approx(before + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pace.at(now) == pytest.approx(before)

    run(main())


def test_nobody_is_kept_waiting_for_longer_than_a_send_may_last() -> None:
    async def main() -> None:
        pace = Pace(60)
        pace.close(1000.0, asyncio.get_running_loop().time())
        with pytest.raises(Throttled) as caught:
            await pace.turn()
        assert 990 < caught.value.retry_after <= 1000

    run(main())
    assert MAX_WAIT < 600  # delivery ends a send then


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([entry(900)], [(1000 / 60, 30)]),
        ([entry(3)], [(0.1, 30)]),
        ([entry(0)], [(0.0, 30)]),
        ([entry(-2, ends=4000)], [(0.0, 60)]),
        ([entry(30, ends=0)], [(0.5, 60)]),
        ([entry(5, value=5, unit="SECOND", ends=-3)], [(5.0, 1)]),
        ([entry(1, verb="GET")], []),
        ([entry(3, verb="post")], [(0.1, 30)]),
        ([entry(3, unit="FORTNIGHT")], []),
        ([entry(3, **{"next-available": "soon"})], [(3 / 60, 60)]),
        ([entry(3, **{"next-available": at(30, zone="+00:00")})], [(0.1, 30)]),
        ([{"verb": "POST"}], []),
    ],
)
def test_what_the_limits_leave(listed: list[dict[str, Any]], expected: list[tuple[float, float]]) -> None:
    found = [(each.per_second, each.seconds) for each in allowances(limits(*listed), NOW)]
    assert found == [(pytest.approx(rate), pytest.approx(seconds, abs=0.01)) for rate, seconds in expected]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"limits":{"rate":null}}', b'{"limits":{"rate":[{"limit":[3]}]}}']
)
def test_what_is_no_list_of_limits_says_nothing(body: bytes) -> None:
    assert allowances(body, NOW) == []


def test_the_limits_are_asked_for_by_who_sends_much_and_seldom() -> None:
    async def main() -> None:
        quota = Quota(Pace(60))
        for _ in range(ASK_AFTER - 1):
            quota.count(throttled=False)
            assert not quota.take_up()
        quota.count(throttled=False)
        assert quota.take_up()
        for _ in range(ASK_AFTER):
            quota.count(throttled=False)
        assert not quota.take_up()  # not before a while has passed
        assert ASK_EVERY >= 180

    run(main())


def test_a_blueflood_without_limits_is_asked_once() -> None:
    async def main() -> None:
        quota = Quota(Pace(60))
        quota.count(throttled=True)
        assert quota.take_up()
        quota.heard(Answer(404, {}, b""), time.time())
        quota._next = 0.0
        quota.count(throttled=True)
        assert not quota.take_up()

    run(main())


def test_the_tightest_limit_counts() -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time()
        pace = Pace(60)
        Quota(pace).heard(Answer(200, {}, limits(entry(900), entry(3), entry(15, ends=30))), NOW)
        pace.charge(now)
        assert pace.at(now) - now == pytest.approx(10, abs=0.5)
        closed = Pace(60)
        Quota(closed).heard(Answer(200, {}, limits(entry(3), entry(0, ends=20))), NOW)
        assert closed.at(now) - now == pytest.approx(20, abs=0.5)

    run(main())
