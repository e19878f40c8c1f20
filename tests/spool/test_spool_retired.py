"""How long a removed sink holds its records, by clocks that are right, wrong, and set."""

from __future__ import annotations

from pathlib import Path

import pytest
from spooling import LAKE, opened, part, records, run, until
from test_spool_clock import HOUR, TODAY, Machine

from agent.spool import Cursor, Reader, clock
from agent.spool.clock import STEP_MS
from agent.spool.ledger import Ledger
from agent.spool.retired import Retired

DAY = 24 * HOUR


async def _unwritten(*_: object) -> bool:
    return False


def cursor(since: int | None = None) -> Cursor:
    return Cursor(
        sink="gone",
        lane=None,  # type: ignore[arg-type]
        mark=None,  # type: ignore[arg-type]
        write=_unwritten,
        start=0,
        position=0,
        ledger=Ledger(),
        retired_ms=since,
        _dirty=False,
    )


def test_it_waits_its_time_and_is_given_out_once() -> None:
    machine = Machine()
    one = cursor()
    retired = Retired([one], machine.clock(), 86400)
    assert retired.due() == []
    assert one.dirty
    machine.sleep(DAY - 1)
    assert retired.due() == []
    machine.sleep(1)
    assert retired.due() == [one]
    assert retired.due() == []


def test_a_clock_that_cannot_be_right_stamps_nothing() -> None:
    machine = Machine(wall=5000)
    one = cursor()
    retired = Retired([one], machine.clock(), 86400)
    machine.sleep(2 * DAY)
    assert retired.due() == []
    assert one.retired_ms is None
    machine.wall = TODAY
    assert retired.due() == []
    assert one.retired_ms == TODAY


@pytest.mark.parametrize("step", [20 * 365 * DAY, -HOUR, STEP_MS + 1])
def test_what_the_clock_is_set_by_is_no_time_that_has_passed(step: int) -> None:
    machine = Machine()
    one = cursor(TODAY)
    retired = Retired([one], machine.clock(), 86400)
    machine.sleep(HOUR)
    machine.wall += step
    assert retired.due() == []
    machine.sleep(23 * HOUR - 1)
    assert retired.due() == []
    machine.sleep(1)
    assert retired.due() == [one]


@pytest.mark.parametrize("since", [4000, TODAY + 1])
def test_a_stamp_of_a_wrong_clock_is_made_anew(since: int) -> None:
    machine = Machine()
    one = cursor(since)
    retired = Retired([one], machine.clock(), 86400)
    assert retired.due() == []
    assert one.retired_ms == TODAY


def test_a_machine_that_starts_in_1970_and_asks_the_net_abandons_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = clock.wall_ms
    behind = 50 * 365 * DAY

    async def main() -> None:
        async with opened(state, LAKE, Reader("gone", "few")) as spool:
            await spool.append([part(records(10), lane="few")])
        monkeypatch.setattr(clock.Clock, "now", lambda self: right() - behind)
        async with opened(state, LAKE) as spool:
            janitor = spool._works.janitor
            await janitor._tick()
            monkeypatch.undo()
            await janitor._tick()
            (one,) = janitor.cursors["few"]
            assert (one.position, one.end) == (0, 10)
            assert one.retired_ms is not None
            await until(lambda: not one.dirty)
        async with opened(state, LAKE, Reader("gone", "few")) as spool:
            (one,) = spool.cursors("gone")
            assert (one.position, one.end, one.retired_ms) == (0, None, None)

    run(main)
