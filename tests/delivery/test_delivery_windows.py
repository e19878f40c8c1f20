"""Sinks that reckon by the minute: what goes together, and when."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from farside import FarSide, Post, Reply, far_side
from hypothesis import given
from hypothesis import strategies as st
from rig import Rig, Wall, capture_logs, rig
from virtual import later, run, soon, until

from agent.delivery.forming import LONGEST_PHASE, stretch_of
from agent.ports import Limits
from agent.spool import Reader, Stretch
from agent.spool.clock import STEP_MS

MINUTE = 1_790_000_040  # one begins
BY_THE_MINUTE = Limits(window=60.0, linger=3000.0)  # of which the second does not matter
LATEST = 60 + LONGEST_PHASE + 1


def sent(far: FarSide) -> list[list[int]]:
    return [request.numbers for request in far.requests]


async def sample(it: Rig, wall: Wall, numbers: range, every: float = 10.0) -> dict[int, float]:
    """One record after the other; when each was taken in."""
    taken: dict[int, float] = {}
    for n in numbers:
        taken[n] = wall.now
        await it.put([n])
        await later(every)
    return taken


def test_each_batch_holds_one_minute_and_goes_once_that_is_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 1)
            delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
            async with it.running(delivery):
                await sample(it, wall, range(18))
                await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)
            assert sent(far) == [list(range(6)), list(range(6, 12)), list(range(12, 18))]
            over = [wall.at(request.at) - (MINUTE + 60 * (n + 1)) for n, request in enumerate(far.requests)]
            assert all(0 < late <= LONGEST_PHASE + 1 for late in over)
            assert max(over) - min(over) < 1  # the phase is this delivery's own, and stays

    run(main())


def test_a_batch_that_is_full_does_not_wait_for_the_end_of_its_minute(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 5)
            delivery = it.delivery(Post(far.port, Limits(window=60.0, records=100)))
            async with it.running(delivery):
                await it.put(range(90))
                await later(5)
                assert not far.requests
                await it.put(range(90, 250))
                await until(lambda: len(far.stored) == 200, within=10)
                await later(10)
                assert len(far.stored) == 200
                assert wall.now < MINUTE + 60
                await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)
            assert [len(numbers) for numbers in sent(far)] == [100, 100, 50]

    run(main())


@pytest.mark.parametrize("pad", [0, 900])
def test_a_batch_full_of_bytes_goes_too_and_is_not_read_again_and_again_meanwhile(tmp_path: Path, pad: int) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 2)
            delivery = it.delivery(Post(far.port, Limits(window=60.0, bytes=20_000)))
            [cursor] = it.spool.cursors("lake")
            reads, read_now = 0, cursor.lane.read_now

            def counted(*args: object, **more: object) -> object:
                nonlocal reads
                reads += 1
                return read_now(*args, **more)  # type: ignore[call-overload]

            cursor.lane.read_now = counted  # type: ignore[method-assign, assignment]
            async with it.running(delivery):
                for n in range(100):
                    await it.put([n], pad=pad)
                    await later(0.5)
                assert wall.now < MINUTE + 60
                before = reads
                if pad:
                    assert [len(body) > 19_000 for body in far.batches.values()] == [True] * len(far.batches)
                    assert len(far.batches) >= 4
                    assert before < 60
                else:
                    assert not far.requests
                    assert before < 25
                await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)
            assert sorted(far.stored) == list(range(100))

    run(main())


def test_a_batch_is_not_full_because_the_first_record_of_the_next_minute_would_not_fit(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 59.5)
            delivery = it.delivery(Post(far.port, Limits(window=60.0, bytes=2000)), seed=2)
            async with it.running(delivery):
                await it.put([1], pad=900)
                await later(1)
                await it.put([2], pad=900)
                await until(lambda: far.stored == [1, 2], within=120, step=0.5)
            assert wall.at(far.requests[0].at) >= MINUTE + 70
            assert wall.at(far.requests[1].at) >= MINUTE + 130

    run(main())


def test_past_minutes_go_at_once_each_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path) as it:
                it.clock(MINUTE + 1)
                for n in range(6):
                    await it.put([n])
                    await later(30)
                assert it.wall is not None
                at = it.wall.now
            async with rig(tmp_path) as it:
                it.clock(at)
                await later(20)
                delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
                async with it.running(delivery):
                    await until(lambda: delivery.queued() == 0, within=5)
            assert sent(far) == [[0, 1], [2, 3], [4, 5]]

    run(main())


def test_a_stopping_agent_sends_what_there_is_of_a_minute(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            it.clock(MINUTE + 1)
            delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
            async with it.running(delivery):
                await it.put(range(5))
                await later(2)
                assert not far.requests
                assert await soon(delivery.drained(), within=0.4)
                await it.put(range(5, 8))
                assert await soon(delivery.drained(), within=0.4)
            assert sent(far) == [[0, 1, 2, 3, 4], [5, 6, 7]]

    run(main())


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -20.0, -5.0])
def test_a_clock_that_is_set_holds_nothing_back_for_longer_than_a_minute(tmp_path: Path, step: float) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            wall = it.clock(MINUTE + 3)
            delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
            async with it.running(delivery):
                await it.put([1])
                await later(10)
                wall.step(step)
                await it.put([2])
                await until(lambda: sorted(far.stored) == [1, 2], within=LATEST + STEP_MS / 1000, step=0.5)

    run(main())


def test_records_of_a_clock_that_was_an_hour_ahead_at_the_last_boot_are_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path) as it:
                it.clock(MINUTE + 3603)
                it.spool.lanes["all"]._clock.boot = b"x" * 16
                await it.put([1])
            async with rig(tmp_path) as it:
                it.clock(MINUTE + 3)
                it.spool.lanes["all"]._clock.known_ms = 0
                delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
                async with it.running(delivery):
                    await until(lambda: far.stored == [1], within=5)

    run(main())


def test_a_former_lane_does_not_wait_for_its_last_minute(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path, sinks=(Reader("lake", "sel-old"),)) as it:
                it.clock(MINUTE + 1)
                await it.put(range(3), lane="sel-old")
            async with rig(tmp_path) as it:
                it.clock(MINUTE + 4)
                await it.put([10])
                delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
                async with it.running(delivery):
                    await until(lambda: far.stored == [0, 1, 2], within=5)
                    await later(10)
                    assert far.stored == [0, 1, 2]
                    await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)

    run(main())


def test_the_lag_of_a_sink_by_the_minute_counts_what_is_being_gathered(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            it.clock(MINUTE + 1)
            delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
            async with it.running(delivery):
                await it.put([1])
                await later(40)
                assert it.value("agent_sink_lag_seconds", sink="lake") == pytest.approx(40, abs=1)
                await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)
                assert it.value("agent_sink_lag_seconds", sink="lake") == 0

    run(main())


def test_what_is_evicted_while_it_is_held_back_does_not_hold_up_what_comes_next(tmp_path: Path) -> None:
    def small(settings: dict[str, object]) -> None:
        settings.update(max_bytes=1 << 20, segment_bytes=128 << 10)

    async def main() -> None:
        async with rig(tmp_path, change=small) as it, far_side() as far:
            it.clock(MINUTE + 1)
            limits = Limits(window=60.0, records=100_000, bytes=1 << 30)
            delivery = it.delivery(Post(far.port, limits))
            async with it.running(delivery):
                for start in range(0, 3000, 100):
                    await it.put(range(start, start + 100), pad=1000)
                [cursor] = it.spool.cursors("lake")
                await until(lambda: cursor.ledger.evicted and it.spool.bytes <= 1 << 20, within=30)
                await until(lambda: delivery.queued() == 0, within=LATEST, step=0.5)
            assert far.stored[-1] == 2999
            assert cursor.ledger.evicted + len(far.stored) == 3000

    run(main())


def test_one_outage_makes_no_batch_of_two_minutes_and_no_hurry(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(lambda request: Reply(503)) as far:
            wall = it.clock(MINUTE + 1)
            delivery = it.delivery(Post(far.port, BY_THE_MINUTE))
            with capture_logs():
                async with it.running(delivery):
                    await sample(it, wall, range(60))
                    far.script = lambda request: Reply()
                    await until(lambda: delivery.queued() == 0, within=2 * LATEST, step=0.5)
            stored = [numbers for numbers in sent(far)[-12:] if numbers]
            assert all(len({n // 6 for n in numbers}) == 1 for numbers in stored)
            assert sorted(far.stored) == list(range(60))

    run(main())


def test_agents_send_at_different_moments_of_the_minute_and_small_windows_wait_little() -> None:
    delays = [stretch_of(60.0, Random(seed)) for seed in range(200)]
    some = [each.delay_ms for each in delays if each is not None]
    assert len(some) == 200
    assert 1000 <= min(some) < 3000
    assert 13_000 < max(some) <= 15_000
    short = stretch_of(1.0, Random(1))
    assert short is not None
    assert (short.length_ms, short.delay_ms <= 250) == (1000, True)
    assert stretch_of(0.0, Random(1)) is None


@given(
    length=st.integers(1, 3_600_000),
    delay=st.integers(0, 15_000),
    taken_in=st.integers(0, 2_000_000_000_000),
    after=st.integers(-10_000_000, 10_000_000),
)
def test_nothing_is_held_back_longer_than_its_stretch_whatever_the_clock_shows(
    length: int, delay: int, taken_in: int, after: int
) -> None:
    stretch = Stretch(length, delay)
    now = taken_in + after
    left = stretch.left_ms(taken_in, now)
    assert 0 <= left <= length + delay + STEP_MS
    over = (taken_in // length + 1) * length + delay
    if now >= over:
        assert left == 0
    elif after >= 0:
        assert left == over - now
