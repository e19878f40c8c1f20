"""Data Flow's dates: both styles are the same moments, and what is sent says the moment that was meant."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ncloud.data_flow import KOREA, epoch_ms, iso, korean, moment

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SECONDS = st.integers(0, 250_000_000_000)  # until the year 9892


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2023-10-20T13:45:15.000", datetime(2023, 10, 20, 4, 45, 15, tzinfo=UTC)),
        ("2024-07-10T14:16:01+09:00", datetime(2024, 7, 10, 5, 16, 1, tzinfo=UTC)),
        ("2024-07-10T14:16:01+0900", datetime(2024, 7, 10, 5, 16, 1, tzinfo=UTC)),
        ("2024-07-10T05:16:01Z", datetime(2024, 7, 10, 5, 16, 1, tzinfo=UTC)),
        ("2024-07-10t05:16:01.25z", datetime(2024, 7, 10, 5, 16, 1, 250_000, tzinfo=UTC)),
        ("2024-07-10T05:16:01.123456789Z", datetime(2024, 7, 10, 5, 16, 1, 123_456, tzinfo=UTC)),
        ("2024-07-10T14:16", datetime(2024, 7, 10, 5, 16, tzinfo=UTC)),
        ("2024-07-10 14:16:01", datetime(2024, 7, 10, 5, 16, 1, tzinfo=UTC)),
        ("2024-07-10", datetime(2024, 7, 9, 15, tzinfo=UTC)),
    ],
)
def test_a_date_without_a_zone_is_koreas(text: str, meant: datetime) -> None:
    assert moment(text) == meant
    assert moment(text).tzinfo is not None
    assert epoch_ms(text) == round(meant.timestamp() * 1000)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "1720588561000", "2024-13-01", "2024-02-30T00:00:00", "2024-07-10T25:00:00", "2024-W10-1"],
)
def test_what_is_no_date_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected a date such as 2024-07-10T14:16:01"):
        moment(text)


@settings(max_examples=60, deadline=None)
@given(SECONDS, ZONES)
def test_what_is_written_is_read_as_the_same_second(seconds: int, zone: timezone) -> None:
    second = datetime.fromtimestamp(seconds, UTC)
    at = second.astimezone(zone) + timedelta(milliseconds=999)
    assert moment(korean(at)) == moment(iso(at)) == second
    assert epoch_ms(iso(at)) == seconds * 1000
    assert moment(iso(at)).utcoffset() == KOREA.utcoffset(None)
    assert set(korean(at)) <= set("0123456789-T:")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert moment(text).tzinfo is not None


def test_a_moment_without_a_zone_is_not_sent() -> None:
    with pytest.raises(ValueError, match="expected a moment with its zone, found 2024-07-10T14:16:01"):
        korean(datetime(2024, 7, 10, 14, 16, 1, tzinfo=UTC).replace(tzinfo=None))
    with pytest.raises(ValueError, match="Korea's calendar"):
        iso(datetime.max.replace(tzinfo=UTC))
