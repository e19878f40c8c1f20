"""What fails at Data Flow or at the disk is said once, waited out, and tried again; its end is said, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

import structlog

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled
from agent.timing import Backoff

log = structlog.get_logger()

T = TypeVar("T")

BACKOFF: Final = Backoff(first=1.0, cap=300.0)


class Patience:
    """That of one rule. `trouble`: what it waits for to pass, "" where there is nothing."""

    def __init__(self, rule: str, rng: Random) -> None:
        self.trouble = ""
        self._rule = rule
        self._rng = rng
        self._of: tuple[object, ...] = ()  # the same for what is the same trouble

    async def ask(self, question: Callable[[], Awaitable[T]], but: tuple[type[DeliveryError], ...] = ()) -> T:
        """What it gives, in the end. Raises what is in `but`."""
        failures = 0
        while True:
            try:
                answer = await question()
            except but:
                raise
            except (DeliveryError, OSError) as error:
                await self.failed(error, failures)
                failures += 1
            else:
                if failures:  # its own are over: another question's trouble may go on
                    self.well()
                return answer

    async def failed(self, error: DeliveryError | OSError, failures: int) -> None:
        """Say it, where it is new, and let some time pass; so many times it has failed before."""
        if isinstance(error, OSError):
            where, reason = "state directory", error.strerror or str(error)
            of: tuple[object, ...] = (type(error), reason)
        else:
            where, reason = "Data Flow", error.reason
            # With a status come numbers that differ from answer to answer.
            of = (type(error), reason) if error.status is None else (type(error), error.status, error.answer)
        if of != self._of:
            needs_person = isinstance(error, AuthExpired | Rejected) or (
                isinstance(error, Retryable) and error.operator
            )
            say = log.error if needs_person else log.warning
            say("Data Flow rule cannot go on, it tries again", rule=self._rule, where=where, reason=reason)
        self._of, self.trouble = of, reason
        asked_for = error.retry_after if isinstance(error, Throttled) else 0.0  # a quota is minutes
        await asyncio.sleep(asked_for + BACKOFF.delay(failures, self._rng))

    def well(self) -> None:
        """It has passed."""
        if self._of:
            log.info("Data Flow rule goes on", rule=self._rule, after=self.trouble)
        self._of, self.trouble = (), ""

    def say(self, text: str) -> None:
        """What the client has to say of its own tries."""
        log.debug("Data Flow is asked again", rule=self._rule, reason=text)
