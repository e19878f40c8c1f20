"""Bytes that are nearly right: seeds that were cut, flipped, repeated, and put together anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

# Health checks that go by the clock: a busy machine is no reason to fail.
BUSY = (HealthCheck.too_slow,)

# What breaks readers: lengths at their bounds, ends of lines and strings, no UTF-8, what opens and never closes.
ODD = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\r\n",
    b"\n",
    b'"',
    b"\\",
    b"[" * 70,
    b"{",
    b"1e999",
)


def _place(draw: Draw, data: bytes) -> int:
    return int(draw(st.integers(0, len(data))))


def _stretch(draw: Draw, data: bytes) -> tuple[int, int]:
    start = _place(draw, data)
    return start, min(len(data), start + int(draw(st.integers(0, 40))))


def _flip(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]


def _cut(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    return data[: _place(draw, data)]


def _drop(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, stop = _stretch(draw, data)
    return data[:start] + data[stop:]


def _repeat(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, stop = _stretch(draw, data)
    return data[:stop] + data[start:stop] * draw(st.integers(1, 20)) + data[stop:]


def _put_in(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(draw, data)
    return data[:at] + draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=8))) + data[at:]


def _splice(draw: Draw, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(seeds))
    return data[: _place(draw, data)] + other[_place(draw, other) :]


_WAYS = (_flip, _cut, _drop, _repeat, _put_in, _splice)


@st.composite
def mutated(draw: Draw, seeds: Sequence[bytes], most: int = 4) -> bytes:
    """One of the seeds after up to that many changes; now and then bytes that owe nothing to any."""
    if draw(st.integers(0, 9)) == 0:
        return bytes(draw(st.binary(max_size=200)))
    data: bytes = draw(st.sampled_from(seeds))
    for way in draw(st.lists(st.sampled_from(_WAYS), max_size=most)):
        data = way(draw, data, seeds)
    return data
