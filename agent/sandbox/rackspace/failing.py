"""
What this far side does wrong on demand, and in whose words it says so.

A fault's `code` tells who speaks: a number is Elasticsearch's status behind Blueflood's 500, `errors` is Blueflood, any
other text is the proxy's or Identity's one key. Its `dataset` is the tenant of the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from agent.sandbox import faults
from agent.sandbox.faults import Fault
from agent.sandbox.rackspace import answers, elasticsearch
from agent.sandbox.rackspace.answers import UNREACHABLE, Answer, Build

_COMMON = ("unavailable", "reset", "hang", "slow", "half_answer", "answer", "verbatim")
_WORDS = {UNREACHABLE: "", 400: elasticsearch.UNPARSABLE, 429: elasticsearch.REJECTED}
REASONS = {UNREACHABLE: "Elasticsearch unreachable", 400: "refused by Elasticsearch", 429: "Elasticsearch overloaded"}


def unauthorized(**scope: Any) -> Fault:
    """401 whatever the token, from the proxy or from Identity; a storm, where there is no `count`."""
    message = "Unable to authenticate user with credentials provided."
    return Fault(name="unauthorized", stage="arrival", status=401, code="unauthorized", message=message, **scope)


def forbidden(**scope: Any) -> Fault:
    """403: a role that may not, or at Identity an account that is disabled."""
    return Fault(name="forbidden", stage="arrival", status=403, code="forbidden", message="Forbidden", **scope)


def over_limit(retry_after: float | str | None = 1, status: Literal[413, 429] = 413, **scope: Any) -> Fault:
    """The rate limit's answer, with Retry-After (seconds or an HTTP date) unless None."""
    header = None if retry_after is None else str(retry_after)
    return Fault(name="over_limit", stage="arrival", status=status, code="overLimit", retry_after=header, **scope)


def too_large(**scope: Any) -> Fault:
    """413 with neither Retry-After nor a body that speaks of a limit: a size."""
    return Fault(name="too_large", stage="read", status=413, gateway=True, **scope)


def no_elasticsearch(**scope: Any) -> Fault:
    """500 at once: Elasticsearch is down. Nothing is stored."""
    return Fault(name="no_elasticsearch", stage="send", code=UNREACHABLE, **scope)


def overloaded(**scope: Any) -> Fault:
    """500: Elasticsearch says 429, rejected_execution. Nothing is stored."""
    return Fault(name="overloaded", stage="send", code=429, **scope)


def unparsable(**scope: Any) -> Fault:
    """500: Elasticsearch says 400, mapper_parsing. Nothing is stored, and never would be."""
    return Fault(name="unparsable", stage="send", code=400, **scope)


def broken_store(copies: int = 10, **scope: Any) -> Fault:
    """Elasticsearch stores and hangs up, Blueflood posts again to the next, ten times over, and answers 500."""
    return Fault(name="broken_store", stage="stored", code=UNREACHABLE, copies=copies, **scope)


def refuse(message: str = "Unrecognized field", **scope: Any) -> Fault:
    """400 to everything, in Blueflood's words."""
    return Fault(name="refuse", stage="lookup", status=400, code="errors", message=f"Invalid Data: {message}", **scope)


def broken(status: Literal[500, 503] = 500, **scope: Any) -> Fault:
    """Identity's own 500 or 503."""
    code = "identityFault" if status == 500 else "serviceUnavailable"
    return Fault(name="broken", stage="read", status=status, code=code, message="Internal Server Error", **scope)


BY_NAME: Mapping[str, Callable[..., Fault]] = {
    **{name: faults.BY_NAME[name] for name in _COMMON},
    "unauthorized": unauthorized,
    "forbidden": forbidden,
    "over_limit": over_limit,
    "too_large": too_large,
    "no_elasticsearch": no_elasticsearch,
    "overloaded": overloaded,
    "unparsable": unparsable,
    "broken_store": broken_store,
    "refuse": refuse,
    "broken": broken,
}


def words(fault: Fault) -> str:
    """What Elasticsearch says where the fault is its."""
    return _WORDS.get(int(fault.code), elasticsearch.refusal(int(fault.code), "exception", fault.message))


def answer(fault: Fault, build: Build, tenant: str, until: str) -> Answer:
    """What a fault that answers says; `until` is when a limit ends."""
    headers = fault.headers
    match fault.code:
        case _ if fault.body is not None:
            return Answer(fault.status, fault.page, headers=headers)
        case _ if fault.gateway:
            return answers.page(fault.status, headers)
        case int():
            return answers.storage(build, tenant, fault.code, words(fault))
        case "errors":
            return answers.error(fault.status, tenant, fault.message)
        case "overLimit":
            return answers.over_limit(fault.status, fault.retry_after, until)
        case _:
            return answers.fault(fault.status, fault.code, fault.message, headers)
