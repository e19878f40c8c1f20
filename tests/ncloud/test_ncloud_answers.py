"""Every row of the gateway's table of errors, in every shape its bodies take, means the right thing for the data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeliveryError, Throttled
from agent.ncloud import Said, meaning, said


def kind(error: DeliveryError | None) -> str:
    if error is None:
        return "taken"
    marks = [name for name in ("ambiguous", "operator") if getattr(error, name, False)]
    return "+".join([type(error).__name__, *marks])


TABLE = [
    (400, "100", "Retryable+ambiguous"),
    (401, "200", "AuthExpired"),
    (401, "210", "AuthExpired"),
    (403, "230", "AuthExpired"),
    (404, "300", "Retryable+operator"),
    (429, "400", "Throttled"),
    (429, "410", "Throttled"),
    (429, "420", "Throttled"),
    (413, "430", "TooLarge"),
    (503, "500", "Retryable"),
    (504, "510", "Retryable+ambiguous"),
    (500, "900", "Retryable+ambiguous"),
]


def shapes(code: str, message: str) -> dict[str, bytes]:
    bodies: dict[str, Any] = {
        "documented": {"error": {"errorCode": code, "message": message, "details": "why"}},
        "a number": {"error": {"errorCode": int(code), "message": message, "details": "why"}},
        "without details": {"error": {"errorCode": code, "message": message}},
        "responseError": {"responseError": {"returnCode": code, "returnMessage": message}},
        "top": {"errorCode": code, "message": message},
        "code": {"code": code, "msg": message},
    }
    xml = f"<responseError><returnCode>{code}</returnCode><returnMessage>{message}</returnMessage></responseError>"
    return {name: json.dumps(body).encode() for name, body in bodies.items()} | {"xml": xml.encode()}


@pytest.mark.parametrize("shape", shapes("1", ""))
@pytest.mark.parametrize(("status", "code", "expect"), TABLE)
def test_every_row_in_every_shape(status: int, code: str, expect: str, shape: str) -> None:
    error = meaning(status, shapes(code, "Its Words")[shape], headers={"x-ncp-trace-id": "a1b2"})
    assert kind(error) == expect
    assert error is not None
    assert error.status == status
    assert f"({status} {code} Its Words" in error.reason
    assert error.reason.endswith("x-ncp-trace-id a1b2)")
    assert f"{code} Its Words" in error.answer


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", b'{"status":401,"error":"UNAUTHORIZED","message":"m"}', b"[1]"]
)
@pytest.mark.parametrize(("status", "code", "expect"), TABLE)
def test_without_a_code_the_status_decides(status: int, code: str, expect: str, body: bytes) -> None:
    assert kind(meaning(status, body)) == expect


@pytest.mark.parametrize(
    ("status", "code", "expect"),
    [
        # As the gateway was once seen to do: the status again, where the code should be.
        (400, "400", "Retryable+ambiguous"),  # not a quota
        (401, "401", "AuthExpired"),
        (500, "500", "Retryable+ambiguous"),  # not an endpoint that is not reached
        (429, "429", "Throttled"),
        (200, "200", "taken"),
        # Nothing that the gateway is known to say.
        (415, "100", "Retryable+ambiguous"),
        (422, "", "Retryable+ambiguous"),
        (302, "", "Retryable+operator"),
        (418, "", "Retryable+operator"),
        (502, "", "Retryable"),
    ],
)
def test_a_code_counts_beside_its_own_status_alone(status: int, code: str, expect: str) -> None:
    assert kind(meaning(status, shapes(code or "0", "m")["documented"])) == expect


def test_a_pause_that_is_asked_for_is_kept() -> None:
    def pause(status: int, code: str, retry_after: float | None) -> float:
        error = meaning(status, shapes(code, "m")["documented"], retry_after=retry_after)
        assert isinstance(error, Throttled)
        return error.retry_after

    assert pause(429, "410", 7.0) == 7.0
    assert pause(429, "400", 7.0) == 7.0
    assert pause(503, "500", 20.0) == 20.0
    assert pause(429, "400", None) >= 120  # a quota: minutes
    assert 1 <= pause(429, "420", None) <= 60


def test_the_words_of_every_shape_are_found() -> None:
    found = said(
        b'{"type":"about:blank","title":"Not Found","detail":"no such","errorType":"resource-not-found/WORKFLOW"}'
    )
    assert found == Said(code="resource-not-found/WORKFLOW", message="Not Found", details="no such")
    assert (
        said(b'{"error":{"errorCode":"210","message":"Permission Denied","details":"d"}}').words
        == "210 Permission Denied: d"
    )
    assert said(b'{"timestamp":1,"status":401,"error":"UNAUTHORIZED"}') == Said(message="UNAUTHORIZED")
    assert said("<p>서버</p>".encode()).message == "<p>서버</p>"


@given(
    st.integers(100, 599),
    st.binary() | st.recursive(st.text() | st.integers() | st.none(), st.lists).map(json.dumps).map(str.encode),
)
def test_no_answer_breaks_it(status: int, body: bytes) -> None:
    assert (meaning(status, body) is None) == (200 <= status < 300)


@pytest.mark.parametrize("status", [400, 418, 500])
@pytest.mark.parametrize(
    "body",
    [
        b'[{"secret":"CANARY"}]',
        rb'["{\"secret\": \"CANARY\",\"x\":1}"]',
        rb'{"error":{"message":"not taken: {\"secret\":\"CANARY\"}"}}',
        rb'{"error":{"message":"no","details":"{\"Secret\" : CANARY}"}}',
        b'<error><message>{"secret":"CANARY"}</message></error>',
        b"<schema><secret>CANARY</secret></schema>",
    ],
)
def test_the_secret_of_a_schema_is_in_no_words_of_an_error_however_it_is_wrapped(body: bytes, status: int) -> None:
    error = meaning(status, body)
    assert error is not None
    assert "CANARY" not in f"{error.reason} {error.answer}"
