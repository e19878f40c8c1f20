"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("250ms", 0.25),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("24h", 86400.0),
        ("7d", 604800.0),
        ("2w", 1209600.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        ("0.1s", 0.1),
    ],
)
def test_durations_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "10", "fast", "10 parsecs", "-1s", "1s fast", "s", "1e3s", "١٠"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**14))
def test_every_duration_is_read_back_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_durations_finer_than_a_millisecond_are_kept_exactly(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64MiB", 64 << 20),
        ("512KiB", 512 << 10),
        ("512 kib", 512 << 10),
        ("1GB", 10**9),
        ("1.5GiB", 3 << 29),
        ("2TiB", 2 << 40),
        ("4096", 4096),
        ("10B", 10),
    ],
)
def test_sizes_are_written_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64M", "MiB", "0.3B", "-1KiB", "many"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=1 << 60) | st.integers(min_value=0, max_value=1 << 20).map(lambda n: n << 20))
def test_every_size_is_read_back_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_numbers_are_shown_in_the_largest_unit_that_fits() -> None:
    assert [format_size(n) for n in (0, 1023, 1 << 16, 10**6, 3 << 29)] == ["0B", "1023B", "64KiB", "1MB", "1536MiB"]
    assert [format_duration(n) for n in (0.0, 0.25, 90.0, 86400.0)] == ["0s", "250ms", "1m30s", "1d"]
