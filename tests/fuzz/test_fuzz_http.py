"""Any answer of a far side, through the real client and the real sinks: an outcome of the known kinds, and soon."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sinks.rackspace.quota import MAX_PAUSE, allowances
from fuzz.answers import answer, bodies, http, seeds, sinks
from fuzz.mutate import BUSY, mutated

STATUSES = [200, 201, 204, 207, 400, 401, 403, 404, 413, 417, 429, 500, 503]

QUOTAS = [
    b'{"limits":{"rate":[{"limit":[{"verb":"ALL","value":1000,"remaining":%b,"unit":"MINUTE",'
    b'"next-available":"2026-11-22T07:09:00Z"}]}]}}' % left
    for left in (b"999", b"0", b"-5", b"1e300", b'"x"', b"[" * 1000 + b"]" * 1000)
]


@settings(max_examples=120, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds()))
def test_whatever_is_said_in_place_of_an_answer_is_an_answer_or_a_failure_in_words(data: bytes) -> None:
    http(data)


@settings(max_examples=80, deadline=10_000, suppress_health_check=BUSY)
@given(st.integers(0, 4), mutated(seeds()))
def test_no_answer_makes_a_sink_raise_anything_but_what_delivery_knows(which: int, data: bytes) -> None:
    sinks(bytes([which]) + data)


@settings(max_examples=100, deadline=10_000, suppress_health_check=BUSY)
@given(st.integers(0, 4), st.sampled_from(STATUSES), mutated(bodies(), most=2))
def test_no_body_makes_a_sink_raise_anything_but_what_delivery_knows(which: int, status: int, body: bytes) -> None:
    sinks(bytes([which]) + answer(status, body, b"Date: Sun, 22 Nov 2026 07:08:09 GMT"))


@pytest.mark.parametrize("which", range(5))
def test_the_bodies_themselves_are_read_by_every_sink(which: int) -> None:
    for status in (200, 401, 500):
        for body in bodies():
            sinks(bytes([which]) + answer(status, body))


@settings(max_examples=100, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(QUOTAS, most=3))
def test_no_list_of_limits_makes_more_of_itself_than_limits(body: bytes) -> None:
    for each in allowances(body, 1795000000.0):
        assert not math.isnan(each.per_second)
        assert 0 <= each.seconds <= MAX_PAUSE
