"""
What Obsrv's answers mean for the data.

HTTP status and `error.code` decide, never the wording: except where a body was not even parsed, which
is told by the id "api" and has one code for everything. Everything else in an answer may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, TooLarge
from agent.http import quoted, refusal, worded

_Meaning = tuple[Callable[..., DeliveryError], str]

_HOLD = partial(Retryable, operator=True)
_DOUBT = partial(Retryable, ambiguous=True)

# By status and error.code. A Kafka error arrives as its number, other thrown errors as their own words.
_CODES: Mapping[tuple[int, str], _Meaning] = {
    (400, "DATA_INGESTION_INVALID_INPUT"): (Rejected, "the content was refused"),
    (401, "UNAUTHORIZED ACCESS"): (AuthExpired, "the token was refused"),
    (403, "FORBIDDEN ACCESS"): (AuthExpired, "the token has no role that may ingest"),
    (404, "DATASET_NOT_FOUND"): (_HOLD, "there is no live dataset of that name: publish it, or correct dataset"),
    (404, "TOPIC_NOT_FOUND"): (_HOLD, "the dataset has no entry topic"),
    (404, "ROUTE_NOT_FOUND"): (_HOLD, "there is no such API at this address: correct url"),
    (500, "10"): (TooLarge, "larger than a message may be in Obsrv's Kafka"),
    (500, "17"): (_HOLD, "Obsrv's Kafka: the entry topic is invalid"),
    (500, "29"): (_HOLD, "Obsrv's Kafka: Obsrv may not write to the entry topic"),
    (500, "31"): (_HOLD, "Obsrv's Kafka: Obsrv is not authorised in the cluster"),
    (500, "87"): (_HOLD, "Obsrv's Kafka: the broker's validation refuses records"),
}

# A 500 from the parser of bodies, by its message. Nothing was stored.
_UNPARSED: Mapping[str, _Meaning] = {
    "request entity too large": (TooLarge, "larger than Obsrv's limit for a body"),
    "request aborted": (Retryable, "the request did not arrive whole"),
    "request size did not match content length": (Retryable, "the request did not arrive whole"),
}


def verdict(status: int, body: bytes, retry_after: float | None = None) -> DeliveryError | None:
    """None where the far side has taken the batch, else what to do with it."""
    read = parsed(body)
    said = read or {}
    if 200 <= status < 300:
        if read is not None and _is_yes(read):
            return None
        return _error((_DOUBT, "an answer that is not Obsrv's, or says otherwise"), status, said, body)
    if status == 410:
        return _error((_HOLD, "this path is gone: correct url"), status, said, body)
    if status == 400 and not body:
        # Node's HTTP parser, before any program saw it.
        return _error((Retryable, "the request did not arrive whole"), status, said, body)
    before_route = said.get("id") == "api" and not table(said, "params").get("resmsgid")
    error = table(said, "error")
    if before_route and status == 400:
        return _error((_HOLD, "the path cannot be decoded: correct url and dataset"), status, said, body)
    if before_route and status == 500:
        unread = (Rejected, "the body could not be read")
        return _error(_UNPARSED.get(worded(error.get("message")), unread), status, said, body)
    if meaning := _CODES.get((status, worded(error.get("code")))):
        return _error(meaning, status, said, body)
    if error and status == 500:
        # PostgreSQL or Kafka; a record may be in Kafka all the same, twice even.
        return _error((_DOUBT, "Obsrv failed"), status, said, body)
    return refusal(status, body, retry_after)


def unanswered(failure: Retryable, token: str) -> Retryable:
    """
    The same failure, with the likely cause where the token is no JWT.

    Obsrv never answers a request whose token it cannot decode (wire facts: Obsrv, auth), which looks like an outage.
    """
    if not failure.ambiguous or not token or token.count(".") == 2:
        return failure
    reason = f"{failure.reason}; the token is no JWT, and Obsrv leaves a request with such a token unanswered"
    return Retryable(reason, ambiguous=True)


def parsed(body: bytes) -> Mapping[str, Any] | None:
    """The answer's object; None where a gateway speaks, not Obsrv."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None


def table(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A member of an answer that is an object; empty where it is anything else, or missing."""
    value = said.get(key)
    return value if isinstance(value, dict) else {}


def _is_yes(said: Mapping[str, Any]) -> bool:
    """
    No mark of Obsrv's contradicts the status, and what is missing contradicts nothing: status and error.code decide
    (wire page, section 5). An object that has other members in place of all its marks is somebody else's.
    """
    if said and not {"id", "params", "responseCode", "result"} & said.keys():
        return False
    status = worded(table(said, "params").get("status", "SUCCESS")).upper()
    return said.get("responseCode", "OK") == "OK" and status == "SUCCESS" and not said.get("error")


def _error(meaning: _Meaning, status: int, said: Mapping[str, Any], body: bytes) -> DeliveryError:
    make, text = meaning
    error = table(said, "error")
    words = quoted(
        " ".join(worded(error[key]) for key in ("code", "message") if error.get(key)).encode(errors="replace")
    )
    # The words, where there are any: around them stand 250 characters of envelope, and what is too long is cut.
    reason = f"{text} ({status} {words})" if words else f"{text} ({status})"
    return make(reason, status=status, answer=words or quoted(body))
