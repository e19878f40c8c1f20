"""
Gaps: records that one sink never gets because they grew too old while they waited.

What expires between two acceptances is one gap, however long it lasts and however many reads and
batches it comes to. That it begins is said at once; what it comes to when the sink takes something
again, when the agent stops, and with the hourly reminder while it goes on; then the next begins. A
sink that is always too slow has a gap before each acceptance: those within a minute are said together.
"""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from agent.delivery.notice import Notice, Tell
from agent.units import format_duration

log = structlog.get_logger()

REMIND = 3600.0
SAY_AGAIN = 60.0
_LAST_MS = 253_402_300_799_999  # the last moment that RFC 3339 can write


class Gaps:
    """The gap a sink is in, if any. What is said adds up to what its ledger has as expired."""

    def __init__(self, name: str, max_age: float, tell: Tell) -> None:
        self._name = name
        self._reason = f"older than {format_duration(max_age)}"
        self._tell = tell
        self._records = 0
        self._from_ms = self._to_ms = 0
        self._began = 0.0
        self._is_over = False
        self._said = float("-inf")

    def add(self, records: int, oldest_ms: int, newest_ms: int, now: float) -> None:
        """Records were expired; the first and the last of them were taken in then (wall clock)."""
        if not self._records:
            self._from_ms, self._to_ms, self._began, self._is_over = oldest_ms, newest_ms, now, False
            if now - self._said >= REMIND:
                # The sum comes when it is over, which may be days away: somebody may still do something.
                log.error("records begin to expire", sink=self._name, reason=self._reason)
        self._records += records
        self._from_ms, self._to_ms = min(self._from_ms, oldest_ms), max(self._to_ms, newest_ms)

    def accepted(self, now: float) -> None:
        """The sink takes something again: the gap has its end."""
        self._is_over = bool(self._records)
        self.remind(now)

    def remind(self, now: float) -> None:
        """Say it, where it is over or has gone on for an hour; called every few seconds."""
        if self._records and (
            now - self._said >= SAY_AGAIN if self._is_over else now - max(self._began, self._said) >= REMIND
        ):
            self.say(now)

    def say(self, now: float) -> None:
        """Say it now, if there is one."""
        if not self._records:
            return
        log.error(
            "records expired",
            sink=self._name,
            records=self._records,
            reason=self._reason,
            **{"from": _rfc3339(self._from_ms), "to": _rfc3339(self._to_ms)},
        )
        notice = Notice(
            sink=self._name,
            what="gap",
            reason=self._reason,
            since_ms=self._from_ms,
            until_ms=self._to_ms,
            records=self._records,
        )
        self._records, self._said = 0, now
        self._tell(notice)


def _rfc3339(ms: int) -> str:
    text = datetime.fromtimestamp(min(max(ms, 0), _LAST_MS) / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
