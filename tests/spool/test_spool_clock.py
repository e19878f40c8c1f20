"""Which clock is believed, and what records of a wrong one are corrected by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from spooling import now_ms, opened, part, records, run

from agent.record import Run
from agent.spool import writer
from agent.spool.clock import BUILT_MS, HELD_MS, STEP_MS, Clock
from agent.spool.frame import Header, parse
from agent.spool.gather import drafts

HOUR = 3_600_000
TODAY = BUILT_MS + 400 * 24 * HOUR


@dataclass
class Machine:
    """A machine with a wall clock that can be set and a boot clock that cannot."""

    wall: int = TODAY
    boot: int = 10 * HOUR
    id: bytes = b"1" * 16

    def clock(self, known_ms: int = 0) -> Clock:
        return Clock(known_ms, wall=lambda: self.wall, boottime=lambda: self.boot, boot=self.id)

    def sleep(self, ms: int) -> None:
        self.wall += ms
        self.boot += ms

    def reboot(self, wall: int) -> None:
        self.wall, self.boot, self.id = wall, 1000, bytes([self.id[0] + 1]) * 16


def stamped(clock: Clock, received_ms: int) -> Header:
    (one,) = drafts([part(records(1), received_ms=received_ms)], clock, clock.distance())
    header = parse(one.header(1, 1, 0))
    assert header is not None
    return header


def correction(clock: Clock, header: Header) -> tuple[int, bool]:
    return clock.correction(header, clock.distance())


def test_a_right_clock_is_left_alone() -> None:
    machine = Machine()
    clock = machine.clock()
    header = stamped(clock, machine.wall)
    machine.sleep(HOUR)
    assert correction(clock, header) == (0, True)
    assert correction(machine.clock(), header) == (0, True)


def test_drift_and_slewing_do_not_change_what_was_sent_before() -> None:
    machine = Machine()
    clock = machine.clock()
    header = stamped(clock, machine.wall)
    for _ in range(9):
        machine.sleep(HOUR)
        machine.wall += 1000
        assert correction(clock, header)[0] == 0


@pytest.mark.parametrize("wrong", [0, TODAY - HOUR, TODAY + 20 * HOUR])
def test_a_clock_that_is_set_within_the_boot_corrects_what_it_stamped(wrong: int) -> None:
    machine = Machine(wall=wrong)
    clock = machine.clock(known_ms=TODAY - 2 * HOUR if wrong else TODAY)
    header = stamped(clock, machine.wall)
    machine.sleep(5 * HOUR)
    machine.wall = TODAY + 5 * HOUR
    offset, known = correction(clock, header)
    assert known
    assert header.newest_ms + offset == TODAY
    # The same by a process that was started after the clock was set.
    assert correction(machine.clock(), header) == (offset, True)


def test_across_boots_the_wall_clock_counts_where_both_were_right() -> None:
    machine = Machine()
    header = stamped(machine.clock(), machine.wall)
    machine.reboot(TODAY + HOUR)
    assert correction(machine.clock(known_ms=TODAY), header) == (0, True)


def test_across_boots_nothing_is_known_where_one_was_wrong() -> None:
    machine = Machine(wall=5000)
    wrong = stamped(machine.clock(), machine.wall)
    right = stamped(Machine().clock(), TODAY)
    machine.reboot(TODAY)
    assert correction(machine.clock(), wrong) == (0, False)
    machine.reboot(7000)
    assert correction(machine.clock(known_ms=TODAY), right) == (0, False)


def test_a_time_before_what_the_disk_has_seen_is_not_right() -> None:
    machine = Machine()
    assert machine.clock(known_ms=TODAY).credible()
    assert machine.clock(known_ms=TODAY + STEP_MS).credible()  # set back a little, as clocks are
    assert not machine.clock(known_ms=TODAY + STEP_MS + 1).credible()
    assert not Machine(wall=BUILT_MS - 1).clock().credible()


def test_a_jump_into_the_future_and_back_leaves_nothing_behind() -> None:
    machine = Machine()
    clock = machine.clock(known_ms=TODAY - HOUR)
    machine.sleep(HELD_MS)
    machine.wall += 20 * 365 * 24 * HOUR
    assert clock.note() == TODAY - HOUR
    machine.sleep(HELD_MS - 1)
    assert clock.note() == TODAY - HOUR
    machine.wall -= 20 * 365 * 24 * HOUR
    assert clock.credible()
    # The next boot never heard of it.
    machine.reboot(TODAY + HOUR)
    assert machine.clock(known_ms=clock.note()).credible()


def test_a_time_is_believed_once_the_clock_has_kept_it() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.note() == 0
    machine.sleep(HELD_MS)
    assert clock.note() == machine.wall
    machine.reboot(TODAY - HOUR)
    assert not machine.clock(known_ms=clock.note()).credible()


def test_a_clock_that_was_set_back_and_left_there_is_believed_over_what_it_showed_before() -> None:
    machine = Machine(wall=TODAY + 20 * 365 * 24 * HOUR)
    clock = machine.clock()
    machine.sleep(2 * HELD_MS)
    assert clock.note() == machine.wall
    machine.wall = TODAY
    clock.note()
    assert not clock.credible()
    machine.sleep(HELD_MS)
    assert clock.note() == machine.wall
    assert clock.credible()


@pytest.mark.parametrize("wrong", [0, TODAY - HOUR, TODAY + HOUR])
def test_a_clock_that_is_set_between_arrival_and_writing_corrects_what_waited(
    state: Path, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    machine = Machine(wall=wrong)
    real = writer.drafts

    def set_before(*arguments: Any) -> Any:
        machine.wall = TODAY
        return real(*arguments)

    async def main() -> None:
        async with opened(state) as spool:
            lane = spool.lanes["all"]
            lane._clock._wall, lane._clock._boottime = lambda: machine.wall, lambda: machine.boot
            lane._clock._distance = lane._clock._wall() - lane._clock._boottime()
            monkeypatch.setattr(writer, "drafts", set_before)
            await spool.append([part(records(1), received_ms=machine.wall)])
            got = await lane.read(0, 10, 1000)
            assert isinstance(got, Run)
            assert (got.newest_ms, got.clock_offset_ms) == (TODAY, TODAY - wrong)

    run(main)


@pytest.mark.parametrize("wrong", [0, TODAY - HOUR, TODAY + HOUR])
def test_a_clock_that_is_set_between_arrival_and_append_makes_nothing_old(state: Path, wrong: int) -> None:
    machine = Machine(wall=wrong)

    async def main() -> None:
        async with opened(state) as spool:
            lane = spool.lanes["all"]
            lane._clock._wall, lane._clock._boottime = lambda: machine.wall, lambda: machine.boot
            lane._clock._distance, lane._clock._former = wrong - machine.boot, None
            arrived, machine.wall = machine.wall, TODAY
            await spool.append([part(records(1), received_ms=arrived), part(records(1), received_ms=machine.wall)])
            machine.sleep(1000)
            for n in range(2):
                got = await lane.read(n, 1, 1000)
                assert isinstance(got, Run)
                assert got.newest_ms == TODAY
                assert lane.seconds_since(got.newest_ms - got.distance_ms) == 1.0

    run(main)


def test_records_without_an_age_are_read_as_such_and_the_latest_time_is_kept(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(3), received_ms=now_ms())])
            lane = spool.lanes["all"]
            got = await lane.read(0, 10, 1000)
            assert isinstance(got, Run)
            assert (got.clock_offset_ms, got.ageless) == (0, False)
            age = lane.age(got)
            assert age is not None
            assert 0 <= age < 5
            # As if the frames were of a boot with a wrong clock.
            lane._clock.boot = b"x" * 16
            lane._clock.known_ms = now_ms() + HOUR
            got = await lane.read(0, 10, 1000)
            assert isinstance(got, Run)
            assert got.ageless
            assert got.slice(1, 2).ageless
            assert lane.age(got) is None
        async with opened(state) as spool:
            assert spool.lanes["all"]._clock.known_ms > now_ms() - HOUR

    run(main)
