"""
What Data Flow's own errors mean, and whether a request may have done its work all the same.

The service says what is wrong in a problem document whose `errorType` is one of a few words, with the kind of resource
behind a slash (Data Flow overview); newer documents show the gateway's shape, with the same words for `errorCode`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.errors import DeliveryError, Rejected, Retryable
from agent.ncloud.asking import Unreadable

NOT_FOUND = "resource-not-found"

_KINDS: Mapping[str, str] = {
    "bad-parameter": "Data Flow refused a value",
    "bad-state": "Data Flow does not do that in the present state",
    NOT_FOUND: "Data Flow has nothing of that id",
    "client-request-failed": "a service that Data Flow asked for it refused",
    "client-resource-not-found": "a service behind Data Flow has no such resource",
    "client-unauthorized": "a service behind Data Flow refused these rights",
}


class Refused(Rejected):
    """Data Flow understood the request and refused it; a repeat changes nothing. `kind`: its errorType, cut at `/`."""

    def __init__(self, reason: str, *, kind: str, status: int | None = None, answer: str = "") -> None:
        super().__init__(reason, status=status, answer=answer)
        self.kind = kind


def translated(error: DeliveryError) -> DeliveryError:
    """The error as Data Flow means it, where it was the service that refused; else the same."""
    kind = re.split("[ :/]", error.answer, maxsplit=1)[0]
    if kind not in _KINDS or error.status is None or not 400 <= error.status < 500:
        return error
    behind = error.reason.partition(" (")[2]  # status, words and trace
    return Refused(
        f"{_KINDS[kind]} ({behind}" if behind else _KINDS[kind], kind=kind, status=error.status, answer=error.answer
    )


def is_doubtful(error: DeliveryError) -> bool:
    """
    Whether the request may have done its work although this came of it.

    Also a 503: it says that the gateway did not reach the service, and a proxy in between says it for less.
    """
    if isinstance(error, Unreadable):
        return True
    if not isinstance(error, Retryable):
        return False
    if error.status is None:
        return error.ambiguous
    return error.status == 408 or error.status >= 500


def may_pass(error: DeliveryError) -> bool:
    """Whether the same question may be answered later without anybody doing anything."""
    if isinstance(error, Unreadable):
        return True
    if not isinstance(error, Retryable) or error.operator:
        return False
    return error.status is None or error.status in (408, 425, 429) or error.status >= 500
