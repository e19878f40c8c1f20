"""
What the gateway's answers mean for the data.

Its numbers are a trap: *code* 200 is a failed authentication, *code* 400 a quota, *code* 500 comes with status 503.
So status and code are kept apart, and a code counts only beside the status that it belongs to. The body has many
shapes, and its Content-Type says nothing about which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled, TooLarge
from agent.http import quoted, refusal

QUOTA_PAUSE = 300.0  # a quota that is used up does not come back in seconds
RATE_PAUSE = 10.0

_DOUBT = partial(Retryable, ambiguous=True)
_HOLD = partial(Retryable, operator=True)

_Meaning = tuple[Callable[..., DeliveryError], str]

# Error codes of the legacy Ncloud API ("API call: error handling"), 230 of the API Gateway's own page.
_CODES: Mapping[tuple[int, str], _Meaning] = {
    (400, "100"): (_DOUBT, "the gateway did not understand the request"),
    (401, "200"): (AuthExpired, "the keys, the signature or this clock were refused"),
    (401, "210"): (AuthExpired, "the key has no right to this API: look at the sub account's policies"),
    (403, "230"): (AuthExpired, "the key has no right to this resource"),
    (404, "300"): (_HOLD, "there is no such API, or nothing of that key or name: correct zone, url or cw_key"),
    (429, "400"): (partial(Throttled, retry_after=QUOTA_PAUSE), "the quota is used up"),
    (429, "410"): (partial(Throttled, retry_after=RATE_PAUSE), "too many requests"),
    (429, "420"): (partial(Throttled, retry_after=RATE_PAUSE), "too many requests"),
    (413, "430"): (TooLarge, "larger than the gateway takes"),
    (503, "500"): (Retryable, "the gateway does not reach the service"),
    (504, "510"): (_DOUBT, "the service did not answer the gateway in time"),
    (500, "900"): (_DOUBT, "the gateway failed"),
}
_STATUSES: Mapping[int, _Meaning] = {
    400: _CODES[400, "100"],
    401: (AuthExpired, "not authenticated"),
    403: _CODES[403, "230"],
    404: _CODES[404, "300"],
    413: _CODES[413, "430"],
    429: _CODES[429, "410"],
    500: _CODES[500, "900"],
    504: _CODES[504, "510"],
}
_REFUSES_CONTENT = range(400, 500)

# GetProductSchema's page: "a field secret may appear, to be removed". No text repeats it, whatever went wrong.
# Also where the schema stands as a text within JSON, or in XML.
_SECRET = re.compile(
    rb'("secret\\*"\s*:\s*|<secret>)(?:\\+"[^"]*"?|"(?:[^"\\]|\\.)*"?|[^\s,}\]{\["]+)', re.IGNORECASE | re.DOTALL
)

_XML = re.compile(
    rb"<(errorCode|returnCode|code|errorMessage|returnMessage|message|details)>([^<]*)</", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an error body tells, whatever its shape; "" for what it does not."""

    code: str = ""
    message: str = ""
    details: str = ""

    @property
    def words(self) -> str:
        """All of it on one line."""
        return ": ".join(part for part in (f"{self.code} {self.message}".strip(), self.details) if part)


def bare(body: bytes) -> str:
    """What an answer says, fit for a log line, without the `secret` that one of a schema may hold."""
    return quoted(_SECRET.sub(rb'\1"***"', body))


def said(body: bytes) -> Said:
    """Read an error body of any shape the gateway, or a service behind it, has been seen to use."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        tags = {name.lower().decode(): bare(text) for name, text in _XML.findall(body)}
        code = tags.get("errorcode") or tags.get("returncode") or tags.get("code", "")
        message = tags.get("errormessage") or tags.get("returnmessage") or tags.get("message", "")
        return Said(code=code, message=message or ("" if code else bare(body)), details=tags.get("details", ""))
    if not isinstance(value, dict):
        return Said(message=bare(body))
    table: Mapping[str, Any] = value
    for name in ("error", "responseError"):
        if isinstance(value.get(name), dict):
            table = value[name]
    code = _first(table, "errorCode", "returnCode", "errorType", "code")
    message = _first(table, "message", "returnMessage", "errorMessage", "msg", "title", "error")
    return Said(code=code, message=message, details=_first(table, "details", "detail"))


def _first(table: Mapping[str, Any], *names: str) -> str:
    for name in names:
        found = table.get(name)
        if isinstance(found, (str, int)) and not isinstance(found, bool) and found != "":
            return bare(str(found).encode(errors="replace"))
    return ""


def trace_of(headers: Mapping[str, str]) -> str:
    """The number that NAVER's support asks for, in words; "" where there is none."""
    number = headers.get("x-ncp-trace-id") or headers.get("x-ncp-request-id")
    return f"x-ncp-trace-id {quoted(number.encode(errors='replace'))}" if number else ""


def meaning(
    status: int, body: bytes, *, retry_after: float | None = None, headers: Mapping[str, str] | None = None
) -> DeliveryError | None:
    """What an answer means for the data; None: a success by its status."""
    if 200 <= status < 300:
        return None
    told, trace = said(body), trace_of(headers or {})
    found = _CODES.get((status, told.code)) or _STATUSES.get(status)
    words = told.words
    behind = ", ".join(part for part in (f"{status} {words}".rstrip(), trace) if part)
    if found is None:
        general = refusal(status, bare(body).encode(), retry_after, trace=trace)
        if status in _REFUSES_CONTENT and not isinstance(general, Retryable):
            found = _STATUSES[400]  # refused without a word which part of it: that convicts no record
        else:
            return general
    make, text = found
    error = make(f"{text} ({behind})", status=status, answer=words or bare(body))
    if retry_after is not None and (isinstance(error, Throttled) or status == 503):
        return Throttled(error.reason, retry_after=retry_after, status=status, answer=error.answer)
    return error
