"""The stand-in for the gateway while it serves: keys, limits, the clock, faults, the books, and how it is reached."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import http.client
import json
import ssl
import time
from typing import Any

import pytest
import trustme
from ncloud_client import CW_KEY, KEY, ROW, SCHEMA, SECRET, SEND, call, exchange, send, signed

from agent.sandbox import faults
from agent.sandbox.faults import Fault
from agent.sandbox.ncloud import Key, Sandbox, Schema
from agent.sandbox.ncloud.troubles import gateway, result, unconfirmed

KEYS = [Key(KEY, SECRET)]
A = {"cpu": 1.5, "host": "a"}


def opened(**options: Any) -> Any:
    return Sandbox.open([ROW], **{"keys": KEYS, **options})


def test_nobody_may_call_unless_told() -> None:
    async def main() -> None:
        async with Sandbox.open([ROW]) as sandbox:
            assert (await asyncio.to_thread(send, sandbox.port, A)).code == "200"

    asyncio.run(main())


def test_keys_come_and_go_while_it_serves() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            new: dict[str, Any] = {"key": "AK_NEW", "secret": "SK_NEW"}
            assert (await asyncio.to_thread(send, sandbox.port, A, **new)).status == 401
            sandbox.keys.add(Key("AK_NEW", "SK_NEW"))
            assert (await asyncio.to_thread(send, sandbox.port, A, **new)).status == 200
            assert (await asyncio.to_thread(send, sandbox.port, A)).status == 200
            sandbox.keys.revoke(KEY)
            said = await asyncio.to_thread(send, sandbox.port, A)
            assert (said.status, said.code, said.details) == (401, "200", "Invalid authentication information.")
            assert (await asyncio.to_thread(send, sandbox.port, A, **new)).status == 200
            assert [entry.key for entry in sandbox.requests] == ["", "AK_NEW", KEY, "", "AK_NEW"]
            with pytest.raises(ValueError, match="no such right"):
                sandbox.keys.add(Key("x", "y", frozenset({"everything"})))

    asyncio.run(main())


def test_a_key_may_do_what_its_rights_say() -> None:
    async def main() -> None:
        async with opened(keys=[Key(KEY, SECRET, frozenset({"send"}))]) as sandbox:
            assert (await asyncio.to_thread(send, sandbox.port, A)).status == 200
            said = await asyncio.to_thread(call, sandbox.port, "GET", f"{SCHEMA}?prodName=Custom/Agent")
            assert (said.status, said.code) == (401, "210")

    asyncio.run(main())


def test_the_clock_can_be_set_and_the_date_says_so() -> None:
    async def main() -> None:
        async with opened(clock_offset=600) as sandbox:
            said = await asyncio.to_thread(send, sandbox.port, A)
            assert said.status == 401
            ahead = email.utils.parsedate_to_datetime(said.headers["Date"]).timestamp() - time.time()
            assert 598 < ahead < 602
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=ahead)).status == 200
            sandbox.settings.clock_offset = -600
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=ahead)).status == 401
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=-600)).status == 200
            sandbox.settings.sends_date = False
            assert "Date" not in (await asyncio.to_thread(send, sandbox.port, A)).headers

    asyncio.run(main())


def test_above_the_limit_a_minute_all_is_refused_until_the_minute_is_over() -> None:
    async def main() -> None:
        async with opened(requests_per_minute=2, retry_after="9") as sandbox:
            codes = [(await asyncio.to_thread(send, sandbox.port, A)).status for _ in range(4)]
            assert codes == [200, 200, 429, 429]
            # Those that are not authenticated are not the account's.
            assert (await asyncio.to_thread(send, sandbox.port, A, key="AK_OTHER")).status == 401
            sandbox.settings.clock_offset = 59
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=59)).headers["Retry-After"] == "9"
            sandbox.settings.clock_offset = 61
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=61)).status == 200
            sandbox.settings.limit_code = "400"
            assert (await asyncio.to_thread(send, sandbox.port, A, ahead=61)).code == "400"
            assert len(sandbox.stored(CW_KEY)) == 3

    asyncio.run(main())


def test_compressed_bodies_pass_where_so_set_and_are_measured_unpacked() -> None:
    async def main() -> None:
        async with opened(takes_gzip=True, body_limit=1000) as sandbox:
            for text, status in (("x", 200), ("x" * 2000, 413)):
                body = gzip.compress(json.dumps({"cw_key": CW_KEY, "data": {**A, "state": text}}).encode())
                zipped = {"Content-Encoding": "gzip"}
                said = await asyncio.to_thread(call, sandbox.port, "POST", SEND, body, headers=zipped)
                assert said.status == status
                if status == 200:
                    cut = await asyncio.to_thread(call, sandbox.port, "POST", SEND, body[:-9], headers=zipped)
                    assert (cut.status, cut.code) == (400, "100")
            assert [row.metrics["state"] for row in sandbox.stored(CW_KEY)] == ["x"]

    asyncio.run(main())


def test_bytes_that_are_not_http_never_come_to_the_gateway() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            target = f"{SCHEMA}?prodName=Custom/café".encode()
            said = await asyncio.to_thread(exchange, sandbox.port, "GET", target, signed("GET", target))
            assert said.status == 400
            assert sandbox.requests == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "expected", "kept"),
    [
        (faults.reset(), ConnectionError, 0),
        (faults.reset("read"), ConnectionError, 0),
        (faults.reset("send"), ConnectionError, 0),
        (faults.reset("stored"), ConnectionError, 1),
        (faults.hang(), TimeoutError, 0),
        (faults.hang("stored"), TimeoutError, 1),
        (faults.half_answer(), http.client.IncompleteRead, 1),
        (faults.half_answer("send", code="900"), http.client.IncompleteRead, 0),
    ],
)
def test_a_cut_answer_may_have_stored_or_not(fault: Fault, expected: type[Exception], kept: int) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            armed = sandbox.faults.add(fault)
            with pytest.raises(expected):
                await asyncio.to_thread(send, sandbox.port, A, timeout=0.5)
            assert armed.hits == 1
            assert len(sandbox.stored(CW_KEY)) == kept
            assert [(entry.status, entry.fault) for entry in sandbox.requests] == [(None, fault.name)]
            sandbox.faults.clear()
            assert (await asyncio.to_thread(send, sandbox.port, A)).status == 200
            assert len(sandbox.stored(CW_KEY)) == kept + 1

    asyncio.run(main())


def test_faults_find_the_requests_they_are_meant_for() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            sandbox.schemas.put(Schema.of({**ROW, "cw_key": "17"}))
            sandbox.faults.add(gateway("410", retry_after="3", dataset="17", count=1))
            sandbox.faults.add(result("error", matches=lambda record: record.get("host") == "bad"))
            sandbox.faults.add(gateway("900", stage="send", contains='"worse"', stored=True))
            assert (await asyncio.to_thread(send, sandbox.port, A)).status == 200
            said = await asyncio.to_thread(send, sandbox.port, A, cw_key="17")
            assert (said.status, said.code, said.headers["Retry-After"]) == (429, "410", "3")
            assert (await asyncio.to_thread(send, sandbox.port, A, cw_key="17")).status == 200
            said = await asyncio.to_thread(send, sandbox.port, A, {"cpu": 1, "host": "bad"})
            assert (said.status, said.value["result"]) == (200, "error")
            assert (await asyncio.to_thread(send, sandbox.port, {"cpu": 1, "host": "worse"})).code == "900"
            assert [row.target for row in sandbox.stored(CW_KEY)] == ["a", "worse"]

    asyncio.run(main())


def test_slow_is_right_but_late_and_a_gateway_in_front_speaks_html() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            sandbox.faults.add(faults.slow(0.2, count=1))
            began = time.monotonic()
            assert (await asyncio.to_thread(send, sandbox.port, A)).value["result"] == "success"
            assert time.monotonic() - began >= 0.2
            sandbox.faults.add(faults.unavailable(4))
            said = await asyncio.to_thread(send, sandbox.port, A)
            assert (said.status, said.headers["Retry-After"], said.body[:6]) == (503, "4", b"<html>")

    asyncio.run(main())


def test_what_cannot_be_stored_is_not_answered_as_stored() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            armed = sandbox.faults.add(unconfirmed())
            said = await asyncio.to_thread(send, sandbox.port, A, cw_key="17")
            assert (said.value["result"], armed.hits) == ("fail", 0)

    asyncio.run(main())


def test_the_books_hold_every_request_and_no_secret() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            region = {"X-NCP-REGION_NO": "7", "Authorization": "Bearer SK_TEST"}
            for _ in range(2):
                await asyncio.to_thread(send, sandbox.port, A, {"cpu": 1, "host": "b", "x": 1}, headers=region)
            await asyncio.to_thread(call, sandbox.port, "GET", f"{SCHEMA}?prodName=Custom%2FAgent&x")
            first, second, third = sandbox.requests
            assert (first.method, first.target, first.rows, first.region) == ("POST", SEND, 2, "7")
            assert (first.result, first.status, first.size) == ("success", 200, second.size)
            assert first.crc == second.crc != 0
            assert (first.timestamp, first.stamp) != (second.timestamp, second.stamp)
            assert third.target == f"{SCHEMA}?prodName=Custom%2FAgent&x"
            assert first.headers["Content-Type"] == "application/json"
            said = repr([sandbox.requests, KEYS, [entry.headers for entry in sandbox.requests]])
            report = sandbox.ledger.report()
            assert "SK_TEST" not in said + json.dumps(report)
            assert "AK_TEST" not in repr(sandbox.requests)
            assert report == {
                "requests": 3,
                "statuses": {"200": 3},
                "results": {"success": 2},
                "deprecated": 0,
                "stored": {CW_KEY: 4},
                "untargeted": {},
                "discarded": {},
                "dropped": [[CW_KEY, "x", "unknown", 2]],
            }

    asyncio.run(main())


def test_a_body_cut_off_half_way_stores_nothing_and_harms_nobody() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            body = json.dumps({"cw_key": CW_KEY, "data": A}).encode()
            headers = {**signed("POST", SEND.encode()), "Content-Length": str(len(body) + 10)}
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(
                    exchange, sandbox.port, "POST", SEND, headers, body, timeout=0.3, measured=False
                )
            async with asyncio.timeout(5):
                while not sandbox.requests[0].seconds:
                    await asyncio.sleep(0.01)
            assert sandbox.stored(CW_KEY) == []
            assert (await asyncio.to_thread(send, sandbox.port, A)).status == 200

    asyncio.run(main())


def test_it_can_be_reached_over_ipv6_and_tls() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("::1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)

    async def main() -> None:
        async with opened(host="::1", ssl_context=server) as sandbox:
            assert sandbox.url == f"https://[::1]:{sandbox.port}"
            said = await asyncio.to_thread(send, sandbox.port, A, host="::1", context=client)
            assert said.value["result"] == "success"
            sandbox.faults.add(faults.reset("stored"))
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await asyncio.to_thread(send, sandbox.port, A, host="::1", context=client)
            assert len(sandbox.stored(CW_KEY)) == 2
        async with opened(host="::1") as sandbox:
            assert sandbox.url == f"http://[::1]:{sandbox.port}"
            assert (await asyncio.to_thread(send, sandbox.port, A, host="::1")).status == 200

    asyncio.run(main())


def test_a_setting_that_there_is_not_is_an_error() -> None:
    async def main() -> None:
        with pytest.raises(KeyError, match="clock"):
            async with opened(clock=1):
                pass

    asyncio.run(main())
