"""The Rackspace stand-in on the wire: silence, connections, clocks, and what it does wrong on demand."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest
import trustme
from rackspace_far import EVENTS, TENANT, call, connect, event, post, raw, read_answer, read_answers, token

from agent.sandbox.rackspace import Sandbox, failing
from agent.sandbox.rackspace.event import Event, Window, violations


def with_sandbox(work: Callable[[Sandbox], None], **options: object) -> None:
    async def main() -> None:
        async with Sandbox.open(**options) as sandbox:  # type: ignore[arg-type]
            await asyncio.to_thread(work, sandbox)

    asyncio.run(main())


def head(length: int, more: str = "") -> bytes:
    return f"POST {EVENTS} HTTP/1.1\r\nHost: far\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def test_after_silence_the_connection_serves_on() -> None:
    def work(sandbox: Sandbox) -> None:
        with raw(sandbox.url, timeout=0.3) as connection:
            for body in (event(data="x" * 2_000_000), gzip.compress(event())[:-9] + b"x" * 50):
                coding = "Content-Encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" else ""
                connection.sendall(head(len(body), coding) + body)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            connection.settimeout(10)
            connection.sendall(head(len(event("last"))) + event("last"))
            assert read_answer(connection) == (200, b"")
        assert [item.what for item in sandbox.events()] == ["last"]
        assert [(item.status, item.fault) for item in sandbox.requests] == [
            (None, "too large"),
            (None, "corrupt body"),
            (200, ""),
        ]

    with_sandbox(work)


def test_requests_sent_without_waiting_are_answered_in_their_order() -> None:
    def work(sandbox: Sandbox) -> None:
        bodies = [event("a"), b"[]", event("b")]
        with raw(sandbox.url) as connection:
            connection.sendall(b"".join(head(len(body)) + body for body in bodies))
            assert [status for status, _ in read_answers(connection, 3)] == [200, 400, 200]
        assert [item.what for item in sandbox.events()] == ["a", "b"]

    with_sandbox(work)


def test_a_chunked_body_is_taken() -> None:
    def work(sandbox: Sandbox) -> None:
        body = event("in parts")
        start = f"POST {EVENTS} HTTP/1.1\r\nHost: far\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:], b""))
        with raw(sandbox.url) as connection:
            connection.sendall(start + parts)
            assert read_answer(connection) == (200, b"")
        assert [item.what for item in sandbox.events()] == ["in parts"]

    with_sandbox(work)


def test_a_body_is_asked_for_where_the_client_waits_and_refused_unread_where_it_is_too_long() -> None:
    def work(sandbox: Sandbox) -> None:
        with raw(sandbox.url) as connection:
            connection.sendall(head(len(event()), "Expect: 100-continue\r\n"))
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(event())
            assert read_answer(connection) == (200, b"")
        with raw(sandbox.url) as connection:
            connection.sendall(head(1_048_577, "Expect: 100-continue\r\n"))
            assert read_answer(connection) == (417, b"")
        assert len(sandbox.events()) == 1

    with_sandbox(work)


def test_the_bounds_of_the_window_belong_to_it() -> None:
    now = 1_700_000_000_000
    for when, fields in (
        (now - 259_200_000, []),
        (now - 259_200_001, ["when"]),
        (now + 600_000, []),
        (now + 600_001, ["when"]),
    ):
        found = violations(Event(what="x", when=when), TENANT, now, Window())
        assert [problem.source for problem in found] == fields
        assert all(problem.timestamp == when for problem in found)


def test_the_window_and_the_date_go_by_the_far_side_s_clock() -> None:
    def work(sandbox: Sandbox) -> None:
        now = int(time.time() * 1000)
        refused = post(sandbox.url, event(when=now))
        assert refused.status == 400
        date = parsedate_to_datetime(refused.headers["Date"]).timestamp()
        assert abs(date - time.time() - 4 * 86400) < 5
        sandbox.clock.offset = -700
        assert post(sandbox.url, event(when=now)).status == 400
        assert post(sandbox.url, event(when=now - 700_000)).status == 200
        sandbox.clock.offset = 0
        assert post(sandbox.url, event(when=now)).status == 200

    with_sandbox(work, clock_offset=4 * 86400)


def test_answers_may_have_no_date() -> None:
    def work(sandbox: Sandbox) -> None:
        assert "Date" not in post(sandbox.url).headers
        assert "Date" not in post(sandbox.url, b"").headers

    with_sandbox(work, dated=False)


def test_the_same_event_three_times_is_three_documents() -> None:
    def work(sandbox: Sandbox) -> None:
        body = event("again")
        assert [post(sandbox.url, body).status for _ in range(3)] == [200] * 3
        assert [item.what for item in sandbox.events(TENANT)] == ["again"] * 3

    with_sandbox(work)


def test_a_value_that_broke_out_of_its_quotes_is_in_the_books() -> None:
    def work(sandbox: Sandbox) -> None:
        post(sandbox.url, event(data='x","tenantId":"other'))
        post(sandbox.url, event('x","tenantId":"other'))  # the real tenant comes after `what`, and wins
        assert sandbox.tenants() == {"other": 1, TENANT: 1}
        assert [(item.sent_to, item.doubled, item.what) for item in sandbox.events()] == [
            (TENANT, ("tenantId",), "x"),
            (TENANT, ("tenantId",), "x"),
        ]
        assert sandbox.ledger.report()["doubled"] == 2

    with_sandbox(work)


def test_a_fault_may_be_for_one_tenant_or_one_event() -> None:
    def work(sandbox: Sandbox) -> None:
        sandbox.faults.add(failing.no_elasticsearch(dataset="other"))
        sandbox.faults.add(failing.unparsable(matches=lambda record: record["what"] == "poison"))
        assert post(sandbox.url).status == 200
        assert post(sandbox.url, event("poison")).status == 500
        assert call(sandbox.url, "POST", "/v2.0/other/events", event()).status == 500

    with_sandbox(work)


def test_it_serves_ipv6_and_tls() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("::1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def work(sandbox: Sandbox) -> None:
        assert sandbox.url.startswith("https://[::1]:")
        for url, path in ((sandbox.url, "/v2.0"), (sandbox.query_url, "/v2.0")):
            connection = connect(url, context=trusting)
            assert call(url, "GET", path, connection=connection).status == 200
            connection.close()

    with_sandbox(work, host="::1", ssl_context=context)


def test_the_busiest_minute_is_asked_of_the_books() -> None:
    def work(sandbox: Sandbox) -> None:
        name = token(sandbox.identity_url)
        for _ in range(5):
            post(sandbox.url, headers={"X-Auth-Token": name})
        call(sandbox.query_url, "GET", f"/v2.0/{TENANT}/events/getEvents?from=1", None, {"X-Auth-Token": name})
        call(sandbox.url, "POST", "/v2.0/other/events", event())
        assert sandbox.busiest(TENANT) == 6
        assert sandbox.busiest() == 6
        assert sandbox.busiest("other") == 1
        times = [item.at for item in sandbox.requests if item.tenant == TENANT]
        assert sandbox.busiest(TENANT, (times[1] - times[0]) / 2) < 6
        report = sandbox.ledger.report()
        assert (report["busiest_minute"], report["requests"]["identity"]) == (6, 1)
        assert json.dumps(report)

    with_sandbox(work, hosted=True)
