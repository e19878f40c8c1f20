"""What each answer means for an event: the table of response codes, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.http import Answer
from agent.sandbox.rackspace import answers as theirs
from agent.sandbox.rackspace import elasticsearch
from agent.sinks.rackspace.answers import OVER_LIMIT_PAUSE, complaints, verdict


def errors(message: str, source: str | None = None) -> bytes:
    entry = {"tenantId": "123456", "timestamp": None, "metricName": "", "source": source, "message": message}
    return json.dumps({"errors": [entry]}).encode()


def es(status: int, kind: str) -> bytes:
    return errors(f"Error: Elasticsearch request failed: {elasticsearch.refusal(status, kind, 'because')}")


OVER_LIMIT = (
    b'{"overLimit":{"code":413,"message":"OverLimit Retry...","details":"...","retryAfter":"2026-01-01T00:00:00Z"}}'
)
UNAUTHORIZED = b'{"unauthorized":{"code":401,"message":"No valid token provided."}}'
OPERATOR, AMBIGUOUS = {"operator"}, {"ambiguous"}
AFTER = {"retry-after": "7"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "expect", "marks"),
    [
        (200, b"", {}, None, set()),
        (200, b" \r\n", {}, None, set()),
        (200, b"{}", {}, None, set()),
        (200, b"<html>log in here</html>", {}, Retryable, AMBIGUOUS),
        (200, errors("Error: nothing was stored"), {}, Retryable, AMBIGUOUS),
        (202, b"", {}, Retryable, AMBIGUOUS),
        (204, b"", {}, None, set()),
        (207, errors("refused"), {}, Rejected, set()),
        (302, b"", {"location": "https://elsewhere"}, Retryable, OPERATOR),
        (400, errors("may not be empty", "what"), {}, Rejected, set()),
        (400, errors("Invalid Data: Only one event is allowed per request"), {}, Rejected, set()),
        (400, b"", {}, Rejected, set()),
        (401, UNAUTHORIZED, {}, AuthExpired, set()),
        (403, b'{"forbidden":{"code":403}}', {}, AuthExpired, set()),
        (404, b"", {}, Retryable, OPERATOR),
        (405, b"", {"allow": "GET"}, Retryable, OPERATOR),
        (408, b"", {}, Retryable, set()),
        (413, OVER_LIMIT, AFTER, Throttled, set()),
        (413, OVER_LIMIT, {}, Throttled, set()),
        (413, b"", AFTER, Throttled, set()),
        (413, b"", {}, TooLarge, set()),
        (413, b"<h1>Request Entity Too Large</h1>", {}, TooLarge, set()),
        (415, errors("Unsupported media type for Content-Type"), {}, Retryable, OPERATOR),
        (417, b"", {}, Rejected, set()),
        (429, b"", AFTER, Throttled, set()),
        (429, b"", {}, Throttled, set()),
        (500, errors("Error: Unable to reach Elasticsearch"), {}, Retryable, set()),
        (500, es(400, "mapper_parsing_exception"), {}, Rejected, set()),
        (500, es(400, "illegal_argument_exception"), {}, Rejected, set()),
        (500, es(429, "es_rejected_execution_exception"), {}, Retryable, set()),
        (500, es(503, "unavailable_shards_exception"), {}, Retryable, set()),
        (500, es(403, "cluster_block_exception"), {}, Retryable, set()),
        (500, es(500, "null_pointer_exception"), {}, Retryable, AMBIGUOUS),
        (500, errors("Error: Elasticsearch indexing failed with status code: [400]"), {}, Rejected, set()),
        (500, errors("Error: Elasticsearch indexing failed with status code: [0]"), {}, Retryable, set()),
        (500, errors("Error: Elasticsearch indexing failed with status code: [429]"), {}, Retryable, set()),
        (500, errors("Error: Elasticsearch indexing failed with status code: [503]"), {}, Retryable, set()),
        (500, errors("Error: No content to map to Object due to end of input"), {}, Retryable, AMBIGUOUS),
        (500, b"<h1>Internal Server Error</h1>", {}, Retryable, AMBIGUOUS),
        (500, b"", {}, Retryable, AMBIGUOUS),
        (501, b"", {}, Retryable, OPERATOR),
        (502, b"", {}, Retryable, set()),
        (503, b"", {}, Retryable, set()),
        (503, b"", AFTER, Throttled, set()),
        (504, b"", {}, Retryable, set()),
    ],
)
def test_each_row_of_the_table(
    status: int, body: bytes, headers: dict[str, str], expect: type[DeliveryError] | None, marks: set[str]
) -> None:
    said = verdict(Answer(status, headers, body))
    if expect is None:
        assert said is None
        return
    assert type(said) is expect
    assert {name for name in ("ambiguous", "operator") if getattr(said, name, False)} == marks
    assert said.status == status
    assert str(status) in said.reason
    if isinstance(said, Throttled):
        assert said.retry_after == (7.0 if headers else {413: OVER_LIMIT_PAUSE, 429: 5.0}[status])


@pytest.mark.parametrize("build", ["2022-09", "2018-04"])
@pytest.mark.parametrize(("status", "expect"), [(0, Retryable), (429, Retryable), (400, Rejected)])
def test_every_build_of_blueflood_is_understood(build: theirs.Build, status: int, expect: type[DeliveryError]) -> None:
    words = {429: elasticsearch.REJECTED, 400: elasticsearch.UNPARSABLE}.get(status, "")
    answer = theirs.storage(build, "123456", status, words)
    said = verdict(Answer(answer.status, {}, answer.body))
    assert type(said) is expect
    assert not getattr(said, "ambiguous", False)


def test_a_refusal_names_every_field() -> None:
    entries: list[dict[str, Any]] = [
        {"source": "what", "message": "may not be empty"},
        {"source": "when", "message": "Out of bounds."},
    ]
    body = json.dumps({"errors": entries}).encode()
    said = verdict(Answer(400, {}, body))
    assert said is not None
    assert said.reason == "answered 400 what: may not be empty; when: Out of bounds."
    assert [each.source for each in complaints(body)] == ["what", "when"]


def test_other_shapes_of_an_error_are_read_too() -> None:
    general = b'{"title":"Bad token","description":"It has ended","code":401,"link":"https://x"}'
    for body, words in ((general, "Bad token; It has ended"), (UNAUTHORIZED, "No valid token provided.")):
        said = verdict(Answer(401, {}, body))
        assert said is not None
        assert said.reason == f"answered 401 {words}"


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors":null}',
        b'{"errors":[null,3,{}]}',
        b'{"errors":{"a":1}}',
        b"[1]",
        b'"x"',
        b"\xff\xfe",
        b'{"a":{"b":1}}',
    ],
)
def test_nothing_in_a_body_is_relied_upon(body: bytes) -> None:
    for status in (200, 207, 400, 401, 413, 500, 503):
        said = verdict(Answer(status, {}, body))
        assert said is None or len(said.reason) < 400


def test_an_event_cannot_word_itself_out_of_a_refusal() -> None:
    """Messages repeat parts of the event: one that speaks of trouble must not be tried for ever."""
    body = errors(
        'Error: Elasticsearch request failed: {"type":"mapper_parsing_exception"} near "[429] rejected_execution"'
    )
    assert isinstance(verdict(Answer(500, {}, body)), Rejected)


def test_what_is_said_is_short_and_on_one_line() -> None:
    said = verdict(Answer(400, {}, errors("bad\nnews\x00 " * 1000)))
    assert said is not None
    assert len(said.reason) < 400
    assert said.reason.isprintable()
