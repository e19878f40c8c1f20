"""
What an answer to a posted event means for it.

Blueflood's own answers carry `{"errors": [{source, message, ...}]}`; in front of the hosted service stands a proxy
with words of its own, so that nothing in a body is relied upon to be there. A 500 is told apart by its message, as it
is Elasticsearch that speaks there (Blueflood 6557fd4f, and the builds from April 2018 on).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.http import Answer, quoted, refusal, worded

OVER_LIMIT_PAUSE = 15.0  # seconds, after an over-limit answer that does not say how long

_OVER_LIMIT = re.compile(rb"over.?limit|rate.?limit|retry.?after", re.IGNORECASE)
# Elasticsearch's status: as JSON (builds since 2022-09), or in brackets (builds before).
_ES_STATUS = re.compile(r'"status"\s*:\s*(\d{3})|\[(\d{1,3})\]')
_ES_REFUSED = re.compile(r"mapper_parsing|illegal_argument|document_parsing", re.IGNORECASE)
_ES_BUSY = re.compile(r"unable to reach elasticsearch|rejected_execution|cluster_?block", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One entry of an answer's errors list: the field it is about, where it is about one, and what is wrong."""

    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}" if self.source else self.message


def verdict(answer: Answer) -> DeliveryError | None:
    """None where the event was taken, else what to do with it."""
    status, body = answer.status, answer.body
    said = words(answer)
    reason = f"answered {status} {said}".rstrip()
    match status:
        case 200 | 201 | 204 if not body.strip() or _is_harmless(body):
            return None
        case 207:
            # Some were taken, others refused, say the docs; of one event that leaves the refusal.
            return Rejected(reason, status=status, answer=said)
        case 400 | 417:
            return Rejected(reason, status=status, answer=said)
        case 401 | 403:
            return AuthExpired(reason, status=status, answer=said)
        case 413 if answer.retry_after is not None or _OVER_LIMIT.search(body):
            # Repose, the proxy of the hosted service, says 413 where others say 429.
            pause = OVER_LIMIT_PAUSE if answer.retry_after is None else answer.retry_after
            return Throttled(reason, retry_after=pause, status=status, answer=said)
        case 413:
            return TooLarge(reason, status=status, answer=said)
        case 404 | 405 | 415 | 501:
            return Retryable(f"{reason}; is url right?".lstrip(), status=status, answer=said, operator=True)
        case 500:
            return _failure(reason, said, " ".join(map(str, complaints(body))) or body.decode(errors="replace"))
        case _ if 200 <= status < 300:
            return Retryable(f"{reason}: not Blueflood's answer", status=status, answer=said, ambiguous=True)
        case _:
            return refusal(status, body, answer.retry_after)


def complaints(body: bytes) -> list[Complaint]:
    """The entries of an answer's errors list, as far as it has one."""
    listed = _parsed(body).get("errors")
    if not isinstance(listed, list):
        return []
    entries = [each for each in listed if isinstance(each, dict)]
    return [Complaint(worded(each.get("source") or ""), worded(each.get("message") or "")) for each in entries]


def words(answer: Answer) -> str:
    """What an answer says in plain words, fit for a log line; "" where it says nothing."""
    listed = "; ".join(map(str, complaints(answer.body)))
    if not listed:
        parsed = _parsed(answer.body)
        inner = parsed.values() if len(parsed) == 1 else [parsed]  # {"unauthorized": {"code": 401, "message": ...}}
        keys = ("title", "message", "description")
        listed = "; ".join(
            str(each[key]) for each in inner if isinstance(each, dict) for key in keys if isinstance(each.get(key), str)
        )
    return quoted(listed.encode(errors="replace") if listed else answer.body)


def _failure(reason: str, said: str, message: str) -> DeliveryError:
    """
    A 500: Elasticsearch refused the document, was busy, or nobody knows.

    Messages repeat parts of the event, so that an event could word its own verdict: what blames it is looked
    for first, and to be blamed it needs others that are taken. "Unable to reach Elasticsearch" may hide up to
    ten stored copies, if it broke off after storing; but what has failed is the storage and never this event.
    """
    found = {int(number or bracketed) for number, bracketed in _ES_STATUS.findall(message)}
    if 400 in found or _ES_REFUSED.search(message):
        return Rejected(reason, status=500, answer=said)
    if found & {0, 408, 429, 502, 503, 504} or _ES_BUSY.search(message):
        return Retryable(reason, status=500, answer=said)
    return Retryable(reason, status=500, answer=said, ambiguous=True)


def _is_harmless(body: bytes) -> bool:
    """Blueflood's 200 is empty; a proxy may say something, but a page for people to log in is no proxy of this."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return not (isinstance(parsed, dict) and parsed.get("errors"))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}
