"""
The tenant's limits as the service tells them: `GET /v2.0/{tenant}/limits` (docs.rackspace.com, ingestion-limits).

They count every request of every agent of that tenant, this question too: so it is asked by those alone who send
more than a few events, and seldom. Blueflood itself has no limits and answers 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from agent.http import Answer, worded
from agent.sinks.rackspace.pace import Pace

log = structlog.get_logger()

ASK_AFTER = 5  # events: an agent with fewer to send makes no use of the answer
ASK_EVERY = 300.0
MAX_PAUSE = 3600.0
PRESENT = 5.0  # seconds: times of answers are whole seconds, and some time under way

_UNITS = {"SECOND": 1.0, "MINUTE": 60.0, "HOUR": 3600.0, "DAY": 86400.0}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the limits leave: `per_second` for so many `seconds`, or nothing where `per_second` is 0."""

    per_second: float
    seconds: float


def allowances(body: bytes, now: float) -> list[Allowance]:
    """What each limit on posting leaves, at that epoch second there. Entries that make no sense are left out."""
    return [found for each in _entries(body) if (found := _allowance(each, now)) is not None]


class Quota:
    """When to ask for the limits, and what they do to the pace."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._sent = 0  # since the limits were last read
        self._next = 0.0
        self._is_none = False
        self._slowed = False

    def count(self, *, throttled: bool) -> None:
        """An event was sent. One refused as too many makes the limits worth knowing."""
        self._sent += ASK_AFTER if throttled else 1

    def take_up(self) -> bool:
        """Whether to ask before the next event goes; who is told so has to."""
        now = asyncio.get_running_loop().time()
        if self._is_none or self._sent < ASK_AFTER or now < self._next:
            return False
        self._sent, self._next = 0, now + ASK_EVERY
        return True

    def heard(self, answer: Answer, far_now: float) -> None:
        """Take in the answer; one that is no list of limits changes nothing."""
        now = asyncio.get_running_loop().time()
        self._is_none = answer.status == 404
        if answer.status != 200:
            log.debug("limits not read", sink="rackspace", status=answer.status)
            return
        slowest, slowed = self._pace.per_minute, False
        for each in allowances(answer.body, answer.date or far_now):
            if each.per_second <= 0:
                self._pace.close(each.seconds, now)
                slowest, slowed = 0.0, True
            elif each.per_second * 60 < slowest:
                self._pace.slow_down(each.per_second, each.seconds, now)
                slowest, slowed = each.per_second * 60, True
        if slowed and not self._slowed:
            log.warning("the tenant's limit leaves less than rate", sink="rackspace", a_minute=round(slowest, 1))
        self._slowed = slowed


def _entries(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        said = orjson.loads(body)
        for rate in said["limits"]["rate"]:
            for entry in rate["limit"]:
                if worded(entry.get("verb", "ALL")).upper() in ("ALL", "ANY", "*", "POST"):
                    yield entry
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return


def _allowance(entry: dict[str, Any], now: float) -> Allowance | None:
    unit = _UNITS.get(worded(entry.get("unit", "")).upper())
    value, remaining = entry.get("value"), entry.get("remaining")
    if unit is None or not isinstance(value, (int, float)) or not isinstance(remaining, (int, float)):
        return None
    try:
        ends = datetime.fromisoformat(worded(entry.get("next-available", "")))
        left = (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        left = 0.0
    used_up = remaining <= 0
    # A limit that is not used up names the present moment: then it is not known when it begins anew.
    seconds = min(left if left > (0.0 if used_up else PRESENT) else unit, unit, MAX_PAUSE)
    if used_up:
        return Allowance(0.0, seconds)
    return Allowance(min(value / unit, remaining / seconds), seconds)
