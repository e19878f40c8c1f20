"""What is said about a sink: changes of state with their numbers, one reminder an hour, never each try."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from agent.delivery.verdict import Standing, Verdict
from agent.errors import AuthExpired, DeliveryError
from agent.stats import Part

log = structlog.get_logger()

REMIND = 3600.0
SAY_BURIED = 60.0
SHORT_PAUSE = 30.0  # a throttle that asks for less is the far side's normal business


class Episode:
    """The outage a sink is in, if any."""

    def __init__(self, name: str, part: Part, queued: Callable[[], int]) -> None:
        self._name = name
        self._part = part
        self._queued = queued
        self._standing: Standing = "up"
        self._began = 0.0
        self._said = 0.0
        self._tries = 0
        self._operator_told = False
        self._bug_told = False
        self._buried = 0
        self._buried_said = -REMIND

    def failed(self, verdict: Verdict, error: BaseException, now: float) -> None:
        """A try has failed; a change of state is said."""
        self._tries += 1
        if not isinstance(error, DeliveryError) and not self._bug_told:
            self._bug_told = True
            log.error("bug in a sink", sink=self._name, exc_info=error)
        standing = verdict.standing
        outage = verdict.outage
        if standing == "up" or (
            outage is not None and outage.throttled and not outage.misses and verdict.probe_at - now < SHORT_PAUSE
        ):
            return  # a trouble of one batch so far; an answer other than yes ends no episode either
        reason = describe(outage.error if outage is not None else error)
        needs_person = standing == "refusing" or (outage is not None and outage.operator)
        if self._standing == "up":
            self._began, self._said = now, now
        changed = self._standing != standing or (needs_person and not self._operator_told)
        self._standing = standing
        self._part.become(standing, reason)
        if not changed:
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
        self._standing, self._tries, self._operator_told, self._bug_told = "up", 0, False, False

    def buried(self, count: int, reason: str, now: float) -> None:
        """Records go to the dead letters; said at most once a minute, with the number since."""
        self._buried += count
        if now - self._buried_said >= SAY_BURIED:
            log.error("records refused, kept as dead letters", sink=self._name, records=self._buried, reason=reason)
            self._buried, self._buried_said = 0, now

    def remind(self, now: float) -> None:
        """Say once an hour that it goes on."""
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


def describe(error: BaseException) -> str:
    """An error in one line, with the far side's own words where it had any."""
    if not isinstance(error, DeliveryError):
        return f"bug: {error!r}"
    text = error.reason if error.status is None else f"{error.reason} (status {error.status})"
    if isinstance(error, AuthExpired):
        text = f"credentials refused: {text}"
    return f"{text}: {error.answer}" if error.answer and error.answer not in text else text
