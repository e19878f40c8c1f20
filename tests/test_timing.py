"""When to tell of what goes on: a burst takes two lines, and a week of it no more than a person reads."""

from __future__ import annotations

import itertools

from agent.timing import HOUR, SOON, Seldom


def told(moments: list[float]) -> list[float]:
    seldom = Seldom()
    return [at for at in moments if seldom.is_due(at)]


def test_a_burst_is_told_when_it_begins_and_a_minute_later() -> None:
    assert told([n / 10 for n in range(100)] + [SOON]) == [0.0, SOON]


def test_what_goes_on_all_day_is_told_by_the_hour() -> None:
    at = told([float(n) for n in range(24 * 3600)])
    assert at[0] == 0.0
    assert len(at) <= 24 + 5
    assert max(after - before for before, after in itertools.pairwise(at)) <= HOUR


def test_after_a_quiet_time_it_is_news_again() -> None:
    day = [float(n) for n in range(24 * 3600)]
    later = 48 * 3600.0
    assert told([*day, later, later + 1, later + SOON])[-2:] == [later, later + SOON]
