"""
How far a far side's clock is from ours, learned from the Date header of its answers.

Requests signed by a wrong clock are refused, and the far side knows the time: whoever signs or stamps
for it uses `now_ms()`. Believed are answers that nobody on the way can have made up (TLS, loopback), and
only what two of them agree on, or one that came with a refusal of our credentials.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import structlog

from agent.options import is_loopback

log = structlog.get_logger()

WORTH_CORRECTING = 60.0  # seconds; below that no far side minds, and Date counts whole seconds only
AGREE = 15.0  # seconds that two answers may differ by: each was some time under way


class FarClock:
    """One far side's clock. `offset` is what to add to ours, in seconds; 0.0 as long as the two are near."""

    def __init__(self, name: str) -> None:
        self.offset = 0.0
        self._name = name
        self._heard: float | None = None  # the offset that the last answer showed, where it was another one

    @property
    def in_doubt(self) -> bool:
        """Whether one answer has shown another offset, and the next decides."""
        return self._heard is not None

    def now(self) -> float:
        """The far side's time, epoch seconds."""
        return time.time() + self.offset

    def now_ms(self) -> int:
        """The far side's time, epoch milliseconds."""
        return time.time_ns() // 1_000_000 + round(self.offset * 1000)

    def learn(self, date: float | None, url: str, *, refused: bool = False) -> bool:
        """
        Take in an answer's Date (`http.Answer.date`); True when the offset has changed by it.

        `url`: where the answer came from. `refused`: it refused our credentials, so that a wrong clock
        is likely and one answer is enough.
        """
        parts = urlsplit(url)
        if date is None or not (parts.scheme == "https" or is_loopback(parts.hostname or "")):
            return False
        found = date - time.time()
        if abs(found) <= WORTH_CORRECTING:
            found = 0.0
        if found == self.offset or (found and self.offset and abs(found - self.offset) <= AGREE):
            self._heard = None
            return False
        heard, self._heard = self._heard, found
        if not refused and (heard is None or abs(heard - found) > AGREE):
            return False
        self._heard, self.offset = None, found
        if found:
            log.warning("this clock differs from the far side's", far_side=self._name, seconds=round(found, 1))
        else:
            log.info("this clock agrees with the far side's again", far_side=self._name)
        return True
