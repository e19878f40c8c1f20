"""What is said about a sink: changes of state with their numbers, one reminder an hour, never each try."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from agent.delivery.notice import Notice, Tell, What
from agent.delivery.verdict import Standing, Verdict
from agent.errors import AuthExpired, DeliveryError, kind_of_bug
from agent.stats import Part
from agent.timing import Seldom

log = structlog.get_logger()

REMIND = 3600.0
SHORT_PAUSE = 30.0  # a throttle that asks for less is the far side's normal business


class Episode:
    """The outage a sink is in, if any."""

    def __init__(
        self, name: str, part: Part, queued: Callable[[], int], *, now_ms: Callable[[], int], tell: Tell
    ) -> None:
        self._name = name
        self._part = part
        self._queued = queued
        self._now_ms = now_ms  # wall clock, for what others are told
        self._tell = tell
        self._since_ms = 0
        self._reason = ""
        self._is_shut = False  # it could not be opened yet, and that was told
        self._standing: Standing = "up"
        self._began = 0.0
        self._said = 0.0
        self._tries = 0
        self._operator_told = False
        self._bug_told = False
        self._buried, self._buried_why = 0, ""  # since that was last said
        self._buried_said = Seldom()

    def failed(self, verdict: Verdict, error: BaseException, now: float) -> None:
        """A try has failed; a change of state is said."""
        self._tries += 1
        if not isinstance(error, DeliveryError) and not self._bug_told:
            self._bug_told = True
            log.error("bug in a sink", sink=self._name, exc_info=error)
        standing = verdict.standing
        outage = verdict.outage
        if standing == "up" or (
            outage is not None and outage.throttled and not outage.misses and outage.pause < SHORT_PAUSE
        ):
            return  # a trouble of one batch so far; an answer other than yes ends no episode either
        reason = describe(outage.error if outage is not None else error)
        needs_person = standing == "refusing" or (outage is not None and outage.operator)
        if self._standing == "up":
            self._began, self._said, self._since_ms = now, now, self._now_ms()
        is_other = self._standing != standing
        self._standing, self._reason = standing, reason
        self._part.become(standing, reason)
        if is_other:
            self._notify(standing, reason)
        if not is_other and not (needs_person and not self._operator_told):
            return
        queued = self._queued()
        self._operator_told = self._operator_told or needs_person
        if standing == "refusing":
            log.error("sink refuses everything", sink=self._name, reason=reason, tries=self._tries, queued=queued)
        elif needs_person:
            log.error("sink needs a person", sink=self._name, reason=reason, queued=queued)
        else:
            log.warning("sink down", sink=self._name, reason=reason, queued=queued)

    def accepted(self, now: float) -> None:
        """The far side took a batch: an episode ends."""
        if self._part.state != "up":
            self._part.become("up")
        if self._standing != "up":
            log.info(
                "sink up again",
                sink=self._name,
                was=self._standing,
                seconds=round(now - self._began, 1),
                tries=self._tries,
                queued=self._queued(),
            )
            self._notify("up", self._reason)
        self._standing, self._tries, self._operator_told, self._bug_told = "up", 0, False, False

    def cannot_open(self, reason: str) -> None:
        """The sink could not be opened, and is tried again; said once."""
        if self._part.become("down", f"cannot open: {reason}"):
            log.warning("sink cannot open", sink=self._name, reason=reason, queued=self._queued())
        if self._standing == "up" and not self._is_shut:
            self._is_shut, self._since_ms, self._reason = True, self._now_ms(), self._part.reason
            self._notify("down", self._reason)

    def opened(self, failures: int) -> None:
        """It is open after so many tries that failed."""
        if failures:
            self._part.become("starting")
            log.info("sink opened", sink=self._name, tries=failures + 1)
        if self._is_shut:
            self._is_shut = False
            self._notify("up", self._reason)

    def buried(self, count: int, reason: str, now: float) -> None:
        """Records go to the dead letters; said at once, and less and less often while it goes on, with the number."""
        self._buried += count
        self._buried_why = reason
        self._say_buried(now)

    def _say_buried(self, now: float) -> None:
        if self._buried and self._buried_said.is_due(now):
            log.error(
                "records refused, kept as dead letters",
                sink=self._name,
                records=self._buried,
                reason=self._buried_why,
            )
            self._buried = 0

    def remind(self, now: float) -> None:
        """Say once an hour that it goes on, and what was left unsaid; called every few seconds."""
        self._say_buried(now)
        if self._standing != "up" and now - self._said >= REMIND:
            self._said = now
            log.warning(
                "sink has not recovered",
                sink=self._name,
                state=self._standing,
                reason=self._part.reason,
                seconds=round(now - self._began),
                tries=self._tries,
                queued=self._queued(),
            )

    def _notify(self, what: What, reason: str) -> None:
        until_ms = self._now_ms() if what == "up" else None
        self._tell(
            Notice(
                sink=self._name,
                what=what,
                reason=reason,
                since_ms=self._since_ms,
                until_ms=until_ms,
                records=self._queued(),
            )
        )


def describe(error: BaseException) -> str:
    """An error in one line, with the far side's own words where it had any."""
    if not isinstance(error, DeliveryError):
        return f"bug: {kind_of_bug(error)}"
    text = error.reason
    if error.status is not None and f"({error.status} " not in text:  # as a gateway's own words may begin with it
        text += f" (status {error.status})"
    if isinstance(error, AuthExpired):
        text = f"credentials refused: {text}"
    return f"{text}: {error.answer}" if error.answer and error.answer not in text else text
