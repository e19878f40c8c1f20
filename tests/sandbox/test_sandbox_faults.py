"""Faults on demand: what each looks like from outside, what it leaves stored, whom it meets and when it ends."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time

import pytest
from far import answer_code, call, envelope, put

from agent.sandbox import faults
from agent.sandbox.faults import Fault, Faults, Subject
from agent.sandbox.obsrv import Dataset, Sandbox

LAKE = Dataset(id="lake")
PATH = "/v2/data/in/lake"


def under(
    fault: Fault, data: object = ({"uid": "a"},), timeout: float = 10.0
) -> tuple[int, dict[str, str], bytes, list[str]]:
    """One request while that fault is in force: what came back, and what is stored."""

    async def main() -> tuple[int, dict[str, str], bytes, list[str]]:
        async with Sandbox.open([LAKE]) as sandbox:
            armed = sandbox.faults.add(fault)
            body = envelope("m", data)
            status, headers, answer = await asyncio.to_thread(call, sandbox.port, "POST", PATH, body, None, timeout)
            assert armed.hits == 1
            return status, headers, answer, [item.id for item in sandbox.stored("lake")]

    return asyncio.run(main())


def stored_after(fault: Fault, expected: type[Exception], timeout: float = 10.0) -> list[str]:
    """One request that ends with an exception while that fault is in force, then one that goes well."""

    async def main() -> list[str]:
        async with Sandbox.open([LAKE]) as sandbox:
            armed = sandbox.faults.add(fault)
            with pytest.raises(expected):
                await put(sandbox.port, "m", [{"uid": "a"}], timeout=timeout)
            assert armed.hits == 1
            assert [request.status for request in sandbox.requests] == [None]
            sandbox.faults.clear()
            assert await put(sandbox.port, "m", [{"uid": "a"}]) == 200
            return [entry.msgid for entry in sandbox.accepted]

    return asyncio.run(main())


def test_unavailable_is_a_gateway_s_503_with_its_retry_after() -> None:
    status, headers, body, stored = under(faults.unavailable(7))
    assert (status, headers["Retry-After"], stored) == (503, "7", [])
    assert body.startswith(b"<html>")


def test_a_500_may_have_stored_or_not_and_looks_the_same() -> None:
    before, after = under(faults.error()), under(faults.error(stored=True))
    assert (before[0], after[0]) == (500, 500)
    assert answer_code(before[2]) == answer_code(after[2]) == "INTERNAL_SERVER_ERROR"
    assert (before[3], after[3]) == ([], ["a"])


def test_a_refusal_is_the_service_s_own_400() -> None:
    status, _, body, stored = under(faults.refuse())
    assert (status, answer_code(body), stored) == (400, "DATA_INGESTION_INVALID_INPUT", [])
    assert json.loads(body)["params"]["msgid"] == "m"


def test_too_large_has_the_number_10_for_a_code() -> None:
    status, _, body, stored = under(faults.too_large(100), [{"uid": "a", "text": "x" * 100}])
    assert (status, answer_code(body), stored) == (500, 10, [])


def test_a_reset_before_and_after_storing() -> None:
    assert stored_after(faults.reset(), ConnectionError) == ["m"]
    assert stored_after(faults.reset("read"), ConnectionError) == ["m"]
    assert stored_after(faults.reset("stored"), ConnectionError) == ["m", "m"]


def test_an_answer_to_the_byte_whoever_gives_it() -> None:
    status, headers, body, stored = under(faults.verbatim(200, '{"id":', retry_after="soon"))
    assert (status, headers["Retry-After"], body, stored) == (200, "soon", b'{"id":', [])
    assert under(faults.verbatim(500, stored=True))[2:] == (b"", ["a"])


def test_a_hang_never_answers() -> None:
    assert stored_after(faults.hang(), TimeoutError, timeout=0.5) == ["m"]
    assert stored_after(faults.hang("stored"), TimeoutError, timeout=0.5) == ["m", "m"]


def test_a_hang_does_not_keep_the_sandbox_from_closing() -> None:
    async def main() -> float:
        async with Sandbox.open([LAKE]) as sandbox:
            armed = sandbox.faults.add(faults.hang())
            sent = asyncio.create_task(put(sandbox.port, "m", [{"uid": "a"}]))
            while not armed.hits:
                await asyncio.sleep(0.01)
            began = time.monotonic()
        took = time.monotonic() - began
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            await sent
        return took

    assert asyncio.run(main()) < 2.0


def test_half_an_answer_is_stored_whole() -> None:
    assert stored_after(faults.half_answer(), http.client.IncompleteRead) == ["m", "m"]


def test_slow_is_right_but_late() -> None:
    began = time.monotonic()
    status, _, _, stored = under(faults.slow(0.3))
    assert (status, stored) == (200, ["a"])
    assert time.monotonic() - began >= 0.3


def test_a_batch_is_refused_for_one_record_in_it() -> None:
    async def main() -> None:
        async with Sandbox.open([LAKE]) as sandbox:
            sandbox.faults.add(faults.refuse_containing('"uid": "bad"'))
            sandbox.faults.add(faults.refuse_matching(lambda record: record.get("value", 0) > 9))
            assert await put(sandbox.port, "1", [{"uid": "a"}, {"uid": "bad"}]) == 400
            assert await put(sandbox.port, "2", [{"uid": "a"}, {"uid": "b", "value": 10}]) == 400
            assert await put(sandbox.port, "3", [{"uid": "a"}, {"uid": "b", "value": 9}]) == 200

    asyncio.run(main())


def test_a_fault_ends_by_count_by_time_and_meets_its_dataset_alone() -> None:
    subject = Subject("lake")
    book = Faults()
    book.add(faults.unavailable(count=2, dataset="lake"))
    assert book.strike("read", Subject("other")) is None
    assert book.strike("arrival", subject) is None
    assert [book.strike("read", subject) is not None for _ in range(3)] == [True, True, False]
    timed = Faults()
    timed.add(faults.unavailable(seconds=0.2, after=0.1))
    assert timed.strike("read", subject) is None
    struck = []
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        struck.append(timed.strike("read", subject) is not None)
        time.sleep(0.01)
    assert any(struck)
    assert not struck[-1]


def test_a_body_cut_off_half_way_stores_nothing_and_harms_nobody() -> None:
    async def main() -> None:
        async with Sandbox.open([LAKE]) as sandbox:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
            with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
                connection.sendall(head.encode() + envelope("m", [{"uid": "a"}])[:50])
            while not sandbox.requests or not sandbox.requests[0].seconds:
                await asyncio.sleep(0.01)
            assert sandbox.accepted == []
            assert await put(sandbox.port, "m", [{"uid": "a"}]) == 200

    asyncio.run(main())


def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on() -> None:
    def talk(port: int) -> bytes:
        body = envelope("m", [{"uid": "a"}])
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(head.encode())
            first = connection.recv(100)
            connection.sendall(body)
            return first + connection.recv(1000)

    async def main() -> bytes:
        async with Sandbox.open([LAKE]) as sandbox:
            return await asyncio.to_thread(talk, sandbox.port)

    said = asyncio.run(main())
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_an_idle_connection_is_closed_by_the_far_side() -> None:
    def talk(port: int) -> tuple[bytes, float]:
        body = envelope("m", [{"uid": "a"}])
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(head.encode() + body)
            connection.recv(1000)
            began = time.monotonic()
            return connection.recv(1000), time.monotonic() - began

    async def main() -> tuple[bytes, float]:
        async with Sandbox.open([LAKE], keep_alive=0.3) as sandbox:
            return await asyncio.to_thread(talk, sandbox.port)

    rest, after = asyncio.run(main())
    assert rest == b""
    assert 0.2 < after < 5.0
