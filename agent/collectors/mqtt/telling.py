"""
What is said about a connection: changes of state with their numbers, one reminder an hour, never each try.

    steady ──third loss within two hours──▸ unsteady ──half an hour without one──▸ steady

While it is unsteady, neither an end nor a beginning is a change of state: they are counted, and told by the hour.
"""

from __future__ import annotations

from collections import deque
from typing import Any

REMIND = 3600.0  # seconds
LOSSES, WITHIN = 3, 7200.0  # of the connection, each however long, within so many seconds
STEADY = 1800.0  # seconds of an unbroken connection
REASONS = 5  # different ones that are told of one episode: what keeps it from coming back may change


class Telling:
    """One connection's story in the log. Times are the loop's."""

    def __init__(self, log: Any) -> None:
        """`log`: bound to the collector and its broker."""
        self._log = log
        self._ends: deque[float] = deque(maxlen=LOSSES)  # when the last episodes began
        self._down_since: float | None = None
        self._up_since: float | None = None
        self._reason = ""
        self._reasons: set[str] = set()  # told of this episode
        self._tries = 0  # that failed, of this episode
        self._unsteady_since: float | None = None
        self._losses = 0  # while unsteady
        self._seconds = 0.0  # without a connection while unsteady
        self._said = 0.0

    def up(self, now: float, *, kept: bool) -> None:
        """It is connected; `kept`: to the session of before."""
        down = None if self._down_since is None else now - self._down_since
        numbers = {} if down is None else {"down_seconds": round(down, 1), "tries": self._tries}
        say = self._log.info
        if self._unsteady_since is None:
            self._reasons.clear()
        else:
            say = self._log.debug
            self._seconds += min(down or 0.0, now - self._unsteady_since)
        say("mqtt connected", session="kept" if kept else "new", **numbers)
        self._down_since, self._up_since, self._tries = None, now, 0

    def down(self, reason: str, now: float, *, was_open: bool, operator: bool) -> None:
        """It has ended, or could not be made; `operator`: only a person can mend it."""
        self._tries += 1
        self._reason, self._up_since = reason, None
        was_unsteady = self._unsteady_since is not None
        if is_loss := self._down_since is None:
            self._down_since = now
            self._lost(now)
        what = "mqtt disconnected" if was_open else "mqtt cannot connect"
        is_news = reason not in self._reasons and len(self._reasons) < REASONS
        if is_news and (operator or self._unsteady_since is None):
            self._reasons.add(reason)
            (self._log.error if operator else self._log.warning)(what, reason=reason)
        elif was_unsteady and is_loss:
            self._log.debug(what, reason=reason)
        self.look(now)

    def look(self, now: float) -> None:
        """Say what time alone makes worth saying; called every minute or so."""
        if self._unsteady_since is not None:
            if self._up_since is not None and now - self._up_since >= STEADY:
                self._log.info("mqtt connection is steady again", **self._numbers(now))
                self._unsteady_since = None
                self._ends.clear()
                self._reasons.clear()
            elif now - self._said >= REMIND:
                self._said = now
                state = "up" if self._down_since is None else "down"
                self._log.warning(
                    "mqtt connection is still unsteady", state=state, reason=self._reason, **self._numbers(now)
                )
        elif self._down_since is not None and now - self._said >= REMIND:
            self._said = now
            seconds = round(now - self._down_since)
            self._log.warning("mqtt has not recovered", reason=self._reason, seconds=seconds, tries=self._tries)

    def _lost(self, now: float) -> None:
        self._losses += 1
        self._ends.append(now)
        if self._unsteady_since is not None:
            return
        self._said = now
        if len(self._ends) == LOSSES and now - self._ends[0] <= WITHIN:
            self._unsteady_since, self._losses, self._seconds = now, 1, 0.0
            self._log.warning(
                "mqtt connection is unsteady",
                reason=self._reason,
                losses=LOSSES,
                within=round(now - self._ends[0]),
                meaning="what follows is counted, and told by the hour",
            )

    def _numbers(self, now: float) -> dict[str, Any]:
        """Of the time since it became unsteady."""
        since = self._unsteady_since or now
        down = self._seconds + (0.0 if self._down_since is None else now - max(self._down_since, since))
        return {"seconds": round(now - since), "losses": self._losses, "down_seconds": round(down)}
