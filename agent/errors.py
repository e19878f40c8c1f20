"""
Every error the agent raises on purpose, sorted by what to do about it.

    AgentError
    ├── ConfigError          the file is wrong: print every problem, exit 78
    ├── StateError           the state directory cannot be used
    │   ├── StateLocked      another agent has it: exit 75
    │   ├── StateRefused     this user may not use it: exit 77
    │   └── StateTooNew      written by a newer program: exit 78, touch nothing
    ├── ListenError          an address to listen on cannot be had: exit 69
    ├── BadPayload           one payload cannot become a record: dead letter, acknowledge
    ├── Unfit                records this sink can never send: dead letter, send the others
    ├── Unverified           what was sent as a proof could not be read back
    └── DeliveryError        the far side did not take a batch
        ├── Retryable        keep the batch, try again
        │   └── Throttled    the same, not before `retry_after` seconds
        ├── AuthExpired      keep, re-read the secret, try again slowly, tell the operator
        ├── TooLarge         split and send the halves
        └── Rejected         the content was refused: isolate, dead-letter with contrast

Anything else that a sink raises is a bug: it is logged as one and the data is kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class AgentError(Exception):
    """The root of what the agent raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration: where it is, what was expected, what was found."""

    where: str  # "agent.toml:12 sinks.lake.timeout"
    text: str  # "expected a duration such as \"10s\", found \"fast\"; did you mean ...?"

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class ConfigError(AgentError):
    """The configuration has mistakes; all of them are listed (sysexits EX_CONFIG, 78)."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class StateError(AgentError):
    """The state directory cannot be used (sysexits EX_CANTCREAT, 73)."""


class StateLocked(StateError):
    """Another agent works in this state directory (sysexits EX_TEMPFAIL, 75)."""


class StateRefused(StateError):
    """The state directory, or what is in it, is not for this user (sysexits EX_NOPERM, 77)."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(f"{path}: permission denied for the user {_user()}; run as the agent's user or root")


def _user() -> str:
    import pwd  # needed for a message only

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container
        return str(os.geteuid())


class StateTooNew(StateError):
    """The state directory has a newer format than this program (sysexits EX_CONFIG, 78)."""


class ListenError(AgentError):
    """An address to listen on cannot be had; the message names the option (sysexits EX_UNAVAILABLE, 69)."""


class BadPayload(AgentError):
    """One payload cannot become a record; the message says why, without the payload."""


class Unfit(AgentError):
    """Records of a batch that this sink can never send, known without asking (position within the run -> reason)."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} records cannot be sent: {next(iter(reasons.values()))}")
        self.reasons = dict(reasons)


class Unverified(AgentError):
    """What was sent as a proof could not be read back; the message says what was asked, and for how long."""


class DeliveryError(AgentError):
    """The far side did not take a batch. `answer` is what it said, cut short, free of secrets."""

    def __init__(self, reason: str, *, status: int | None = None, answer: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.answer = answer


class Retryable(DeliveryError):
    """
    Keep the batch and try again.

    `ambiguous`: the far side may have taken it, or this batch alone may be the cause (500,
    timeout, an answer that makes no sense): the batch becomes a suspect and is parked while others go.
    `operator`: only a person can mend it (a dataset that does not exist): slow retry, said aloud.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        answer: str = "",
        ambiguous: bool = False,
        operator: bool = False,
    ) -> None:
        super().__init__(reason, status=status, answer=answer)
        self.ambiguous = ambiguous
        self.operator = operator


class Throttled(Retryable):
    """The far side asks for a pause of `retry_after` seconds (from Retry-After, seconds or date)."""

    def __init__(self, reason: str, *, retry_after: float, status: int | None = None, answer: str = "") -> None:
        super().__init__(reason, status=status, answer=answer)
        self.retry_after = retry_after


class AuthExpired(DeliveryError):
    """The credentials were refused: keep everything, re-read the secret, try again slowly."""


class TooLarge(DeliveryError):
    """The batch is too large for the far side: split it, and remember the size."""


class Rejected(DeliveryError):
    """The content was refused. `only`: positions within the batch, where the far side names them."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        answer: str = "",
        only: frozenset[int] | None = None,
    ) -> None:
        super().__init__(reason, status=status, answer=answer)
        self.only = only


def kind_of_bug(bug: BaseException) -> str:
    """
    What is shown of an exception that nobody raises on purpose: its kind.

    Its text may quote anything, a secret too. The log has all of it, as there secrets are hidden.
    """
    return f"{type(bug).__name__}, see the log"
