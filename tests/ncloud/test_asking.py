"""A question is repeated where a repeat does no harm, and only there; whatever is said comes as JSON or as an error."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import closing
from typing import Any

import pytest
import trustme
from far_side import Act, FarSide, answer, far_side, hang, raw, reset, run, said, until

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.http import Answer
from agent.ncloud import CLOUD_INSIGHT, GatewayOptions, Unreadable, asked, fetched, open_gateway
from agent.ncloud.asking import MOST, Repeat
from agent.schema import Secret
from agent.timing import Backoff

OK = said(200, fine=True)
QUICK = Backoff(first=0.001, cap=0.001)
TRACE = {"x-ncp-trace-id": "4f2a"}


def error(status: int, code: str, retry_after: str | None = None) -> Act:
    """The gateway's error, with the pause it asks for."""
    headers = {**TRACE, **({} if retry_after is None else {"Retry-After": retry_after})}
    return answer(status, json.dumps({"error": {"errorCode": code, "message": "words"}}), headers)


async def ask(side: FarSide | str, repeat: Repeat, heard: list[str] | None = None, **given: Any) -> Any:
    url = side if isinstance(side, str) else side.url
    timeouts = {"timeout": 0.3, "connect_timeout": 0.3}
    options = GatewayOptions(access_key=Secret("AK_ASKS"), secret_key=Secret("SK_ASKS_1"), url=url, **timeouts)
    given = {"patience": 5.0, "backoff": QUICK, **given}
    listen = [] if heard is None else heard
    async with open_gateway(options, CLOUD_INSIGHT, name="test") as gateway:
        return await asked(gateway, "POST", "/x", {"a": 1}, repeat=repeat, say=listen.append, **given)


def outcome(*script: Act, repeat: Repeat, **given: Any) -> tuple[Any, int]:
    """What came of it, or the error; and how often it was asked."""

    async def main() -> tuple[Any, int]:
        async with far_side(*script) as side:
            try:
                return await ask(side, repeat, **given), len(side.requests)
            except DeliveryError as failure:
                return failure, len(side.requests)

    return run(main())


PASSES = [
    error(429, "410", "0"),
    error(429, "400", "0"),
    error(503, "500"),
    error(503, "500", "0"),
    error(504, "510"),
    error(500, "900"),
    answer(502),
    reset,
    raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
]


@pytest.mark.parametrize("trouble", PASSES)
def test_a_read_is_asked_again_after_what_may_pass(trouble: Act) -> None:
    assert outcome(trouble, OK, repeat="safe") == ({"fine": True}, 2)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (error(400, "100"), Retryable),
        (error(401, "200"), AuthExpired),
        (error(401, "210"), AuthExpired),
        (error(403, "230"), AuthExpired),
        (error(404, "300"), Retryable),
        (error(413, "430"), TooLarge),
        (answer(302, headers={"Location": "/y", **TRACE}), Retryable),
    ],
)
def test_what_does_not_pass_is_told_at_once_with_its_trace(trouble: Act, kind: type[DeliveryError]) -> None:
    for repeat in ("safe", "unsafe"):
        failure, times = outcome(trouble, OK, repeat=repeat)
        assert (type(failure), times) == (kind, 1)
        assert "x-ncp-trace-id 4f2a" in failure.reason


@pytest.mark.parametrize(("trouble", "times"), [(PASSES[0], 2), (PASSES[1], 2)])
def test_what_starts_something_is_asked_again_where_it_was_turned_away(trouble: Act, times: int) -> None:
    assert outcome(trouble, OK, repeat="unsafe") == ({"fine": True}, times)


@pytest.mark.parametrize("trouble", PASSES[2:])
def test_what_starts_something_is_not_asked_again_where_it_may_have_begun(trouble: Act) -> None:
    failure, times = outcome(trouble, OK, repeat="unsafe")
    assert isinstance(failure, Retryable)
    assert times == 1


def test_a_silence_is_asked_again_for_a_read_alone() -> None:
    assert outcome(hang, OK, repeat="safe") == ({"fine": True}, 2)
    failure, times = outcome(hang, OK, repeat="unsafe")
    assert (failure.ambiguous, times) == (True, 1)


@pytest.mark.parametrize("repeat", ["safe", "unsafe"])
def test_where_no_connection_comes_about_it_is_asked_again_until_one_does(repeat: Repeat) -> None:
    async def main(port: int) -> None:
        heard: list[str] = []
        asking = asyncio.create_task(ask(f"http://127.0.0.1:{port}", repeat, heard))
        await until(lambda: len(heard) > 1)
        async with far_side(OK, port=port) as side:
            assert await asking == {"fine": True}
            assert len(side.requests) == 1
        assert all("cannot connect" in text and "tries again in" in text for text in heard)

    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run(main(port))


@pytest.mark.parametrize("repeat", ["safe", "unsafe"])
def test_what_a_person_has_to_mend_is_not_asked_again(repeat: Repeat) -> None:
    async def main() -> None:
        heard: list[str] = []
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        async with far_side(OK, tls=tls) as side:
            with pytest.raises(Retryable, match="certificate was refused here") as failure:
                await ask(side, repeat, heard, patience=0.5)
        assert (failure.value.operator, heard) == (True, [])

    run(main())


def test_patience_ends() -> None:
    failure, times = outcome(error(503, "500"), repeat="safe", patience=0.0)
    assert (failure.status, times) == (503, 1)
    failure, times = outcome(error(503, "500"), repeat="safe", patience=0.05)
    assert failure.status == 503
    assert times > 1


def test_a_failing_service_is_asked_once_more_and_no_longer() -> None:
    failure, times = outcome(error(500, "900"), repeat="safe")
    assert (failure.status, times) == (500, 2)


def test_a_pause_longer_than_patience_is_not_begun() -> None:
    for trouble in (error(429, "400"), error(429, "410", "7"), error(503, "500", "7")):  # a quota: minutes
        failure, times = outcome(trouble, OK, repeat="safe")
        assert isinstance(failure, Throttled)
        assert times == 1


def test_repeats_are_told_with_the_reason_and_the_pause() -> None:
    async def main() -> list[str]:
        heard: list[str] = []
        async with far_side(error(503, "500"), OK) as side:
            await ask(side, "safe", heard)
        return heard

    (text,) = run(main())
    assert "does not reach the service (503 500 words, x-ncp-trace-id 4f2a); tries again in 100ms" in text


@pytest.mark.parametrize(
    ("body", "value"), [("true", True), ("[1,2]", [1, 2]), ("", None), ("  ", None), ('{"a":null}', {"a": None})]
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_json_is_an_answer_and_so_is_nothing(status: int, body: str, value: object) -> None:
    assert outcome(answer(status, body, {"Content-Type": "text/plain"}), repeat="unsafe") == (value, 1)


def test_nothing_by_its_status_is_an_answer() -> None:
    assert outcome(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), repeat="safe") == (None, 1)


def test_a_success_that_is_no_json_names_what_came() -> None:
    failure, times = outcome(answer(200, "<p>log in</p>", {"Content-Type": "text/html", **TRACE}), repeat="safe")
    assert (type(failure), times) == (Unreadable, 1)
    assert isinstance(failure, Rejected)
    assert failure.reason == (
        "answered 200, expected JSON, found 13 bytes (text/html): <p>log in</p>, x-ncp-trace-id 4f2a"
    )


@pytest.mark.parametrize("status", [200, 400, 418, 500])
def test_the_secret_of_a_schema_is_in_no_error(status: int) -> None:
    body = '{"cw_key":"1","secret" : "hush\\"hush-4711", "fields":['
    for text in (body, '{"secret":47114711,', '["secret":"hush-4711'):
        failure, _ = outcome(answer(status, text), repeat="unsafe")
        assert isinstance(failure, DeliveryError)
        assert not {"hush", "4711"} & set(json.dumps([failure.reason, failure.answer, repr(failure)]).split('"'))
        assert "hush" not in f"{failure.reason}{failure.answer}{failure!r}"
        assert "4711" not in f"{failure.reason}{failure.answer}{failure!r}"
        assert "***" in failure.reason + failure.answer


PROBLEM = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": "{workflowId=aa}: Unable to find.",
    "instance": "/dataflow/api/workflows/aa",
    "errorType": "resource-not-found/WORKFLOW",
}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, PROBLEM, "404 resource-not-found/WORKFLOW Not Found: {workflowId=aa}: Unable to find."),
        (400, {"title": "Bad Request", "status": 400, "errorType": "bad-state"}, "400 bad-state Bad Request"),
        (
            500,
            {"status": 500, "errorType": "unknown-resource-action/JOB", "detail": "d"},
            "unknown-resource-action/JOB: d",
        ),
        (404, {"error": {"errorCode": "300", "message": "Not Found", "details": "x"}}, "404 300 Not Found: x"),
        (401, {"error": {"errorCode": 401, "message": "m"}}, "401 401 m"),
        (401, {"responseError": {"returnCode": "200", "returnMessage": "m"}}, "401 200 m"),
        (401, {"timestamp": 1, "status": 401, "error": "UNAUTHORIZED", "message": "m"}, "(401 m"),
        (400, {"errorCode": "100", "message": "m"}, "400 100 m"),
        (400, {"code": "100", "msg": "m"}, "400 100 m"),
    ],
)
def test_every_shape_of_error_says_its_words_beside_its_status(status: int, body: object, words: str) -> None:
    failure, _ = outcome(answer(status, json.dumps(body), TRACE), repeat="unsafe")
    assert failure.status == status
    assert words in failure.reason
    assert "x-ncp-trace-id 4f2a" in failure.reason


def test_an_answer_of_a_megabyte_is_read_whole_and_one_without_end_is_not() -> None:
    async def main(url: str) -> None:
        keys = {"access_key": Secret("AK_ASKS"), "secret_key": Secret("SK_ASKS_1")}
        async with open_gateway(GatewayOptions(**keys, url=url), CLOUD_INSIGHT, name="test") as gateway:
            found: Answer = await fetched(gateway, "GET", "/x", repeat="safe", accept="image/png")
            assert found.body == long
            with pytest.raises(Unreadable, match="longer than 32 MiB"):
                await fetched(gateway, "GET", "/x", repeat="safe")

    async def both() -> None:
        async with far_side(answer(200, long), answer(200, bytes(MOST))) as side:
            await main(side.url)
            assert side.requests[0].headers["accept"] == "image/png"

    long = b"\x89" * (1 << 20)
    run(both())
