"""
What an answer of S3 means for the data (Amazon S3 API reference, "Error responses"; Object Storage is a part of it).

S3 never looks into an object, so nothing here refuses a record: whatever is wrong is wrong with the account, the
configuration or the way there, and the batch is kept.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled, TooLarge
from agent.http import DEFAULT_PAUSE, Answer, quoted, refusal

SKEWED = "RequestTimeTooSkewed"

_XML = re.compile(rb"<(Code|Message|Region|Endpoint)>([^<]*)</", re.ASCII)

_KEYS = "the keys are not accepted"
_AUTH: Mapping[str, str] = {
    "AccessDenied": "the keys may not do this in the bucket, or it is not theirs",
    "AllAccessDisabled": "the bucket is closed",
    "AccountProblem": "the account has a problem",
    "NotSignedUp": "the account does not use Object Storage",
    "InvalidAccessKeyId": f"{_KEYS}: no such access key",
    "SignatureDoesNotMatch": f"{_KEYS}: the secret key is not that of the access key",
    "ExpiredToken": _KEYS,
    "InvalidToken": _KEYS,
    "InvalidSecurity": _KEYS,
}
_PERSON: Mapping[str, str] = {
    "NoSuchBucket": "no such bucket: create it, or correct `bucket`",
    "InvalidBucketName": "not a name that a bucket can have: correct `bucket`",
    "KeyTooLongError": "the key is too long: shorten `prefix`",
    SKEWED: "the clocks differ too much, and the far side's Date is no help: set this one",
}
_TOO_LARGE = ("EntityTooLarge", "MaxMessageLengthExceeded", "MaxSizeExceeded")
_SLOWER = ("SlowDown", "RequestLimitExceeded", "TooManyRequests", "Throttling", "ThrottlingException")
_AGAIN: Mapping[str, str] = {
    "ServiceUnavailable": "the service is not available",
    "OperationAborted": "another request for the same object is under way",
    "RequestTimeout": "the body came too slowly",
}
# The bytes did not arrive as they were sent; the object may have its part in that (a device on the way), so it is
# parked while others go.
_BROKEN = ("BadDigest", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an error tells; "" for what it does not."""

    code: str = ""
    message: str = ""
    region: str = ""
    endpoint: str = ""


def said(answer: Answer) -> Said:
    """Read an error's XML: `<Error><Code>...</Code><Message>...</Message>...</Error>`."""
    found = {
        name.decode().lower(): quoted(html.unescape(text.decode(errors="replace")).encode())
        for name, text in reversed(_XML.findall(answer.body))
    }
    region = found.get("region") or quoted(answer.headers.get("x-amz-bucket-region", "").encode(errors="replace"))
    return Said(**{**found, "region": region})


def meaning(answer: Answer, *, region: str) -> DeliveryError | None:
    """What an answer means for the data; None: a success. `region`: the one that the request was signed for."""
    status, retry_after = answer.status, answer.retry_after
    if 200 <= status < 300:
        return None
    told = said(answer)
    code, words = told.code, ": ".join(filter(None, (told.code, told.message))) or quoted(answer.body)

    def kept(text: str, *, ambiguous: bool = False, operator: bool = False) -> Retryable:
        return Retryable(text, status=status, answer=words, ambiguous=ambiguous, operator=operator)

    if status == 429 or code in _SLOWER or (status == 503 and retry_after is not None):
        pause = DEFAULT_PAUSE if retry_after is None else retry_after
        return Throttled("asked to go slower", retry_after=pause, status=status, answer=words)
    if 300 <= status < 400 or (code == "AuthorizationHeaderMalformed" and told.region not in ("", region)):
        there = " at ".join(filter(None, (told.region, told.endpoint))) or "another region, it does not say which"
        return kept(f"the bucket is in {there}: set `region` (and `url`)", operator=True)
    if code in _AUTH:
        return AuthExpired(_AUTH[code], status=status, answer=words)
    if code in _PERSON:
        return kept(_PERSON[code], operator=True)
    if code in _TOO_LARGE or status == 413:
        return TooLarge("the object is too large", status=status, answer=words)
    if code in _AGAIN:
        return kept(_AGAIN[code])
    if code in _BROKEN:
        return kept("the object did not arrive as it was sent", ambiguous=True)
    general = refusal(status, words.encode(), retry_after)
    return general if isinstance(general, Retryable | AuthExpired) else kept("refused the request", operator=True)
