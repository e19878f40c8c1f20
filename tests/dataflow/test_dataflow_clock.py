"""When the clock makes a rule due: at full stretches and times of the day, each moment once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from leading import rule

from agent.dataflow import due
from agent.dataflow.kept import Kept


@pytest.fixture(params=["Asia/Seoul", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """This machine's zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield ZoneInfo(request.param)
    time.tzset()


def moment(text: str, zone: Any = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("every", "now", "latest", "following"),
    [
        (3600.0, "2026-11-22 10:59:59", "2026-11-22 10:00:00", "2026-11-22 11:00:00"),
        (3600.0, "2026-11-22 11:00:00", "2026-11-22 11:00:00", "2026-11-22 12:00:00"),
        (90.0, "2026-11-22 00:01:00", "2026-11-22 00:00:00", "2026-11-22 00:01:30"),
        (86400.0, "2026-11-22 23:00:00", "2026-11-22 00:00:00", "2026-11-23 00:00:00"),
    ],
)
def test_full_stretches_are_counted_in_utc(every: float, now: str, latest: str, following: str) -> None:
    it = rule(every=every)
    assert due.latest(it, moment(now)) == moment(latest)
    assert due.following(it, moment(now)) == moment(following)


@pytest.mark.parametrize(
    ("now", "latest", "following"),
    [
        ("2026-11-22 02:29:59", "2026-11-21 02:30", "2026-11-22 02:30"),
        ("2026-11-22 02:30:00", "2026-11-22 02:30", "2026-11-23 02:30"),
        ("2026-11-22 23:59:59", "2026-11-22 02:30", "2026-11-23 02:30"),
        ("2026-03-01 00:00:00", "2026-02-28 02:30", "2026-03-01 02:30"),
    ],
)
def test_a_time_of_the_day_is_that_of_this_machines_zone(zone: ZoneInfo, now: str, latest: str, following: str) -> None:
    it = rule(at="02:30")
    assert due.latest(it, moment(now, zone)) == moment(latest, zone)
    assert due.following(it, moment(now, zone)) == moment(following, zone)
    assert due.day_of(moment(now, zone)) == now[:10]


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"], ids=["02:30 is left out", "02:30 comes twice"])
def test_a_day_on_which_clocks_are_changed_has_the_moment_once(zone: ZoneInfo, day: str) -> None:
    it, kept, runs = rule(at="02:30"), Kept(), 0
    begin = moment(f"{day} 00:00", zone)
    due.anchor(it, kept, begin)
    for minutes in range(24 * 60):
        now = begin + minutes * 60
        if due.is_due(it, kept, now):
            runs += 1
            kept.tick = due.tick(due.latest(it, now) or 0)
    assert runs == 1


def test_a_rule_of_the_clock_waits_for_its_first_moment_and_makes_up_for_many_once() -> None:
    it, kept = rule(every=3600.0), Kept()
    assert due.anchor(it, kept, moment("2026-11-22 10:10"))
    assert not due.anchor(it, kept, moment("2026-11-22 10:20"))
    assert not due.is_due(it, kept, moment("2026-11-22 10:59"))
    late = moment("2026-11-24 17:30")
    assert due.is_due(it, kept, late)
    kept.tick = due.tick(due.latest(it, late) or 0)
    assert not due.is_due(it, kept, late)
    assert due.is_due(it, kept, moment("2026-11-24 18:00"))


def test_a_clock_that_was_years_ahead_does_not_keep_a_rule_from_running_for_years() -> None:
    it, kept, now = rule(every=3600.0), Kept(), moment("2026-11-22 10:10")
    kept.tick = due.tick(moment("2099-01-01 00:00"))
    assert due.anchor(it, kept, now)
    assert not due.is_due(it, kept, now)
    assert due.is_due(it, kept, moment("2026-11-22 11:00"))


def test_a_rule_that_counts_objects_asks_no_clock() -> None:
    it, kept = rule(after_objects=2), Kept(waiting=1, tick=5)
    assert due.anchor(it, kept, 1e9)
    assert (kept.tick, due.latest(it, 1e9), due.following(it, 1e9)) == (None, None, None)
    assert not due.is_due(it, kept, 1e9)
    kept.waiting = 2
    assert due.is_due(it, kept, 1e9)
