"""
Data Flow's dates: ISO 8601 in two styles, of which one names no zone.

Older documents show `2023-10-20T13:45:15.000`, newer ones `2024-07-10T14:16:01+09:00` (getJobs, getWorkflows). A date
without a zone is Korea's time, where the service is: UTC+9, which knows no summer time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

KOREA = timezone(timedelta(hours=9), "KST")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII | re.IGNORECASE
)


def moment(text: str) -> datetime:
    """A date as an aware datetime, in the zone that it names, else in Korea's. Raises ValueError."""
    expected = f"expected a date such as 2024-07-10T14:16:01+09:00 or 2024-07-10T14:16:01 (UTC+9), found {text!r}"
    if not isinstance(text, str) or not _ISO.fullmatch(text):
        raise ValueError(expected)
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=KOREA)


def epoch_ms(text: str) -> int:
    """A date in milliseconds since the Unix epoch. Raises ValueError."""
    return (moment(text) - _EPOCH) // timedelta(milliseconds=1)


def korean(at: datetime) -> str:
    """
    A moment as the statistics want it: `YYYY-MM-DDTHH:mm:ss`, Korea's time, without a zone (getExecutionCount).

    Nothing in it needs escaping in a query. Raises ValueError for a datetime that names no zone itself.
    """
    return _aware(at).strftime("%Y-%m-%dT%H:%M:%S")


def iso(at: datetime) -> str:
    """A moment in the newer style, to the second, Korea's time with its offset. Raises ValueError as `korean`."""
    return _aware(at).isoformat(timespec="seconds")


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None or at.utcoffset() is None:
        raise ValueError(f"expected a moment with its zone, found {at.isoformat()}")
    try:
        return at.astimezone(KOREA)
    except OverflowError as error:
        raise ValueError(f"expected a moment that Korea's calendar has, found {at.isoformat()}") from error
