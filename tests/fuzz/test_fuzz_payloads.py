"""Any payload, in any format: records that every parser takes, or a dead letter; and no payload is slow to judge."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.mutate import BUSY, mutated
from fuzz.payloads import SUBSCRIPTIONS, payloads, seeds

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True).map(repr) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["t", "k", "h", "v", ""]), inner, max_size=4)
    ),
    max_leaves=12,
)


def _which() -> st.SearchStrategy[bytes]:
    return st.tuples(st.integers(0, len(SUBSCRIPTIONS) - 1), st.integers(0, 2)).map(bytes)


@settings(max_examples=250, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds()))
def test_what_is_nearly_right_becomes_records_or_a_dead_letter(data: bytes) -> None:
    payloads(data)


@settings(max_examples=150, deadline=10_000, suppress_health_check=BUSY)
@given(_which(), _JSON)
def test_values_of_every_shape_become_records_or_a_dead_letter(which: bytes, value: object) -> None:
    payloads(which + json.dumps(value).encode())


# Each of these went, or might go, through the payload once for each of its characters.
_SIZE = 250_000
SLOW = {
    "zeros and no number": b"0" * _SIZE + b"x",
    "escaped quotation marks": b'{"v":1e999}"' + b'\\"' * (_SIZE // 2) + b"[" * 70,
    "open strings": b'"a' * (_SIZE // 2),
    "open arrays": b"[" * _SIZE,
    "open objects": b'{"a":' * (_SIZE // 5),
    "empty objects": b"[" + b"{}," * (_SIZE // 3) + b"{}]",
    "digits": b'{"t":' + b"1" * _SIZE + b"}",
    "digits of a fraction": b'{"t":0.' + b"1" * _SIZE + b"}",
    "digits and an exponent": b'{"t":' + b"1" * _SIZE + b"e-%d}" % _SIZE,
    "long exponents": b'{"t":[' + b"1e100," * (_SIZE // 6) + b"1]}",
    "a time of blanks": b'{"t":"2026-11-22' + b" " * _SIZE + b'","h":{"t":"2026-11-22' + b" " * _SIZE + b'"}}',
    "line breaks": b'{"v":"' + b"\\n" * (_SIZE // 2) + b'"}\r\n',
    "no text": b"\x80" * _SIZE,
}


@pytest.mark.parametrize("name", SLOW)
def test_no_payload_of_a_quarter_of_a_megabyte_takes_a_second(name: str) -> None:
    for which in (0, 1, *range(2, len(SUBSCRIPTIONS), 5)):
        before = time.thread_time()
        payloads(bytes([which, 0]) + SLOW[name])
        assert time.thread_time() - before < 1, SUBSCRIPTIONS[which]
