"""What the far side said, and what a status means for the data where nothing more precise is known."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge

MAX_ANSWER = 64 * 1024  # a far side that says more than this is not listened to, unless more was asked for
MAX_QUOTE = 300  # characters of an answer that an error repeats
LONGEST_PAUSE = 3600.0  # an absurd Retry-After must not stop a sink for good
DEFAULT_PAUSE = 5.0  # a 429 that does not say how long


@dataclass(frozen=True, slots=True)
class Answer:
    """What the far side said, free of our secrets, never longer than was asked for."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def date(self) -> float | None:
        """The far side's clock in epoch seconds, as its Date header tells."""
        return _http_date(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds of pause it asks for, where it asks: between 0 and LONGEST_PAUSE."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), LONGEST_PAUSE)
        until = _http_date(text)
        if until is None:
            return None
        # The difference of two of its own times, so that a wrong clock here changes nothing.
        return min(max(until - (self.date or time.time()), 0.0), LONGEST_PAUSE)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def status_line(status: int) -> str:
    """A status with its words: 503 Service Unavailable."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def quoted(said: bytes) -> str:
    """What the far side said, fit for a log line: one line, printable, at most MAX_QUOTE characters."""
    text = said[: 4 * MAX_QUOTE].decode(errors="replace")
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 3] + "..."


def worded(value: object) -> str:
    """A value out of a far side's JSON as text; what nests deeper than `str` goes is not repeated."""
    try:
        return str(value)
    except RecursionError:
        return "(nested too deep to be shown)"


def refusal(
    status: int, said: bytes = b"", retry_after: float | None = None, *, trace: str = ""
) -> DeliveryError | None:
    """
    What a status means for the data, where nothing more precise is known; None: it was taken.

    `trace`: the number under which the far side knows the request, in words.
    """
    if 200 <= status < 300:
        return None
    answer, reason = quoted(said), f"answered {status_line(status)}{f' ({trace})' if trace else ''}"
    match status:
        case 429:
            pause = DEFAULT_PAUSE if retry_after is None else retry_after
            return Throttled(reason, retry_after=pause, status=status, answer=answer)
        case 408 | 425 | 502 | 503 | 504 if retry_after is not None:
            return Throttled(reason, retry_after=retry_after, status=status, answer=answer)
        case 408 | 425 | 502 | 503 | 504:
            return Retryable(reason, status=status, answer=answer)
        case 401 | 403:
            return AuthExpired(reason, status=status, answer=answer)
        case 413:
            return TooLarge(reason, status=status, answer=answer)
        case 400 | 415 | 422:
            return Rejected(reason, status=status, answer=answer)
        case _ if status >= 500:
            return Retryable(reason, status=status, answer=answer, ambiguous=True)
        case _:
            # 404, 410, a redirect, anything unheard of: a person has to look, and nothing is lost meanwhile.
            return Retryable(reason, status=status, answer=answer, operator=True)
