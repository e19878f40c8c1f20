"""A few bytes that would become many: nested, inflated, repeated without end. Each costs a bounded time and room."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from far_side import Act, far_side, raw, run
from fuzz.payloads import SUBSCRIPTIONS, payloads

from agent.errors import BadPayload, Retryable
from agent.http import MAX_ANSWER, Answer, HttpOptions, open_client
from agent.payload import all_plain_objects, closely

MiB = 1 << 20


@contextmanager
def _room(most: int) -> Iterator[None]:
    """The block takes no more memory than that, at any moment."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / MiB:.1f} MiB"


BOMBS = {
    "arrays": (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 64"),
    "objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 64"),
    "arrays that stay open": (b"[" * 100_000, "nested deeper than 64"),
    "within an object": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 64"),
    "a number beyond any double": (b'{"v":1e400}', "beyond the range of a double"),
    "an integer of 10,000 digits": (b'{"v":' + b"9" * 10_000 + b"}", "beyond the range of a double"),
    "as many objects as fit": (b"[" + b"{}," * 40_000 + b"{}]", "10000 is the most"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_payload_that_would_explode_is_refused_in_little_time_and_room(name: str) -> None:
    payload, reason = BOMBS[name]
    before = time.thread_time()
    with _room(24 * MiB):
        assert not all_plain_objects([payload])
        with pytest.raises(BadPayload, match=reason):
            closely(payload)
    assert time.thread_time() - before < 2
    for which in (0, 1, 2, len(SUBSCRIPTIONS) - 1):
        payloads(bytes([which, 1]) + payload[:60_000])


def test_a_number_that_is_long_and_small_is_kept_as_it_is() -> None:
    payload = b'{"v":0.' + b"0" * 10_000 + b"1}"
    assert closely(payload) == [payload]


def _zeros(size: int) -> bytes:
    """A gzip of so many MiB of zeros, a thousandth as long. After a full flush the same block may come again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(bytes(MiB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MiB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size - 1)


async def _asked(act: Act, timeout: float = 5.0) -> Answer:
    async with far_side(act) as side, open_client(HttpOptions(timeout=timeout)) as client:
        return await client.post(f"{side.url}/x", b"{}", {})


@pytest.mark.parametrize("encoding", [b"gzip", b"br"])
def test_an_answer_of_a_gigabyte_of_zeros_is_read_to_its_bound(encoding: bytes) -> None:
    body = _zeros(1024)
    assert len(body) < 2 * MiB
    whole = b"HTTP/1.1 500 No\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)) + body
    with _room(8 * MiB):
        answer = run(_asked(raw(whole)))
    assert answer.body == bytes(MAX_ANSWER)


def _without_end(first: bytes, piece: bytes) -> Act:
    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        with suppress(ConnectionError):
            while True:
                writer.write(piece)
                await writer.drain()

    return act


ENDLESS = {
    "a line of its status": _without_end(b"HTTP/1.1 200 ", b"x" * 65536),
    "a header": _without_end(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    "headers": _without_end(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 5000),
    "answers before the answer": _without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a chunk's size": _without_end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    "a chunk's extension": _without_end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "trailers": _without_end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Y: z\r\n" * 5000),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_whatever_of_an_answer_never_ends_is_given_up(name: str) -> None:
    with _room(24 * MiB), pytest.raises(Retryable):
        run(_asked(ENDLESS[name], timeout=1.0))


def test_a_body_that_never_ends_is_read_to_its_bound() -> None:
    for first in (b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n"):
        with _room(8 * MiB):
            assert len(run(_asked(_without_end(first, b"x" * 65536))).body) == MAX_ANSWER


def test_an_answer_nested_without_end_is_no_answer_that_can_be_read() -> None:
    from agent.ncloud.answers import meaning
    from agent.sinks.obsrv.answers import verdict

    for body in (b"[" * 65_536, json.dumps({"error": {"message": "x" * 60_000}}).encode()):
        for status in (200, 400, 500):
            for found in (verdict(status, body), meaning(status, body)):
                assert found is None or len(f"{found.reason}{found.answer}") < 2000
