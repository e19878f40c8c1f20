"""Every answer that a real Obsrv has given, and those it might give, mean the right thing for the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.sinks.obsrv.answers import verdict

RECORDED = json.loads(Path(__file__).with_name("obsrv_recorded.json").read_text())["answers"]


def meaning(error: DeliveryError | None) -> str:
    if error is None:
        return "taken"
    marks = [name for name in ("ambiguous", "operator") if getattr(error, name, False)]
    return "+".join([type(error).__name__, *marks])


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["case"])
def test_recorded(row: dict[str, str | int]) -> None:
    body = str(row["body"])
    judged = verdict(int(row["status"]), body.encode())
    assert meaning(judged) == row["expect"]
    if judged is not None:
        assert judged.status == row["status"]
        # The server's own words; the whole body where it has none.
        error = (json.loads(body).get("error") or {}) if body.startswith("{") else {}
        words = " ".join(str(error[key]) for key in ("code", "message") if error.get(key)) or body
        assert judged.answer[:50] == words[:50]


def envelope(code: object, message: str = "m", *, id: str = "api.data.in", resmsgid: str = "r") -> bytes:
    params = {"status": "FAILED", "resmsgid": resmsgid}
    return json.dumps({"id": id, "params": params, "error": {"code": code, "message": message}}).encode()


OK = b'{"params":{"status":"SUCCESS"},"responseCode":"OK"}'


@pytest.mark.parametrize(
    ("status", "body", "expect"),
    [
        # What is no clear yes is no yes.
        (200, OK, "taken"),
        (201, OK, "taken"),
        (200, b'{"responseCode":"OK"}', "taken"),
        (200, b'{"params":{"status":"success"}}', "taken"),
        # Status and error.code decide (wire page, section 5); what is missing says nothing against it.
        (202, b'{"result":{}}', "taken"),
        (200, b"{}", "taken"),
        # Of what has others in place of its marks, Obsrv is not the author.
        (200, b'{"message":"Welcome"}', "Retryable+ambiguous"),
        (200, b'{"status":"ok"}', "Retryable+ambiguous"),
        (200, b"", "Retryable+ambiguous"),
        (200, b"POST", "Retryable+ambiguous"),
        (200, b"<html>Welcome</html>", "Retryable+ambiguous"),
        (200, b'{"error":{"code":"INTERNAL_SERVER_ERROR"}}', "Retryable+ambiguous"),
        (200, b"[]", "Retryable+ambiguous"),
        (200, b'{"responseCode":{"a":1},"params":[]}', "Retryable+ambiguous"),
        (200, b'{"params":{"status":"FAILED"},"responseCode":"OK"}', "Retryable+ambiguous"),
        (200, b'{"params":{"status":"SUCCESS"},"responseCode":"BAD_REQUEST"}', "Retryable+ambiguous"),
        # Codes as numbers and as strings.
        (500, envelope(10), "TooLarge"),
        (500, envelope("10"), "TooLarge"),
        (500, envelope(17), "Retryable+operator"),
        (500, envelope("29"), "Retryable+operator"),
        (500, envelope(31), "Retryable+operator"),
        (500, envelope(87), "Retryable+operator"),
        (500, envelope(99), "Retryable+ambiguous"),
        (500, envelope(True), "Retryable+ambiguous"),
        (500, envelope(["list"]), "Retryable+ambiguous"),
        (500, envelope("ERR_OUT_OF_RANGE"), "Retryable+ambiguous"),
        (500, envelope("ECONNREFUSED"), "Retryable+ambiguous"),
        # The same words elsewhere mean nothing.
        (400, envelope(10), "Rejected"),
        (500, envelope("INTERNAL_SERVER_ERROR", "request entity too large"), "Retryable+ambiguous"),
        # Before a program saw the body.
        (500, envelope("INTERNAL_SERVER_ERROR", "request entity too large", id="api", resmsgid=""), "TooLarge"),
        (500, envelope("INTERNAL_SERVER_ERROR", "request aborted", id="api", resmsgid=""), "Retryable"),
        (
            500,
            envelope("INTERNAL_SERVER_ERROR", "request size did not match content length", id="api", resmsgid=""),
            "Retryable",
        ),
        (500, envelope("INTERNAL_SERVER_ERROR", "invalid block type", id="api", resmsgid=""), "Rejected"),
        (400, b"", "Retryable"),
        (400, b"<html>Bad Request</html>", "Rejected"),
        # Missing parts.
        (500, b"", "Retryable+ambiguous"),
        (500, b'{"id":"api.data.in","error":null,"result":null}', "Retryable+ambiguous"),
        (404, b"", "Retryable+operator"),
        (404, b"nginx", "Retryable+operator"),
        (404, b'{"responseCode":"BAD_REQUEST","error":{"code":"DATASET_NOT_FOUND","trace":"x"}}', "Retryable+operator"),
        (410, b"", "Retryable+operator"),
        (401, b"", "AuthExpired"),
        (403, b"{}", "AuthExpired"),
        # Gateways.
        (413, b"<html>", "TooLarge"),
        (429, b"", "Throttled"),
        (502, b"<html>", "Retryable"),
        (503, b"", "Retryable"),
        (504, b"", "Retryable"),
        (302, b"", "Retryable+operator"),
    ],
)
def test_meaning(status: int, body: bytes, expect: str) -> None:
    assert meaning(verdict(status, body)) == expect


def test_a_pause_that_a_gateway_asks_for_is_passed_on() -> None:
    judged = verdict(503, b"", 17.0)
    assert isinstance(judged, Throttled)
    assert judged.retry_after == 17.0


def test_an_operator_reads_what_to_do_and_what_obsrv_said() -> None:
    body = envelope("DATASET_NOT_FOUND", "Dataset with id/alias name 'nope'\x07\nnot found")
    judged = verdict(404, body)
    assert judged is not None
    assert "publish it" in judged.reason
    assert "Dataset with id/alias name 'nope' not found" in judged.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "params", "error", "code", "status"]), inner)
    ),
)


@given(
    status=st.sampled_from([200, 204, 301, 400, 401, 403, 404, 410, 418, 429, 500, 503]),
    body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_no_answer_is_too_strange(status: int, body: bytes) -> None:
    judged = verdict(status, body)
    assert judged is None or isinstance(judged, (Retryable, AuthExpired, TooLarge, Rejected))
    assert judged is None or len(judged.answer) <= 300
