"""The far side's clock, which may be wrong and may be moved."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate


@dataclass(slots=True, eq=False)
class Clock:
    """The machine's clock and `offset` seconds, in force from the next look at it."""

    offset: float = 0.0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.offset

    def now_ms(self) -> int:
        return int(self.now() * 1000)

    def date(self, later: float = 0.0) -> str:
        """As the `Date` header has it."""
        return formatdate(self.now() + later, usegmt=True)


def iso(seconds: float, *, numeric: bool = False) -> str:
    """A time with milliseconds, with `Z` or, `numeric`, with an offset in digits."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text if numeric else text.replace("+00:00", "Z")
