"""
Faults on demand: what a stand-in cloud does wrong, to which requests, and for how long.

A fault meets a request at one stage of its way, in the order of the checks:

    arrival   the headers are there, the body is not read
    read      the body is read, nothing is looked at (a gateway in front of the service)
    lookup    the request is in order; its dataset is about to be looked up
    send      about to be stored; it will not be
    stored    it is stored; only the answer goes wrong
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Stage = Literal["arrival", "read", "lookup", "send", "stored"]
Action = Literal["answer", "reset", "hang", "half", "none"]  # none: only the delay


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail. Made by the functions below; `only` narrows it down."""

    name: str
    stage: Stage
    action: Action = "answer"
    status: int = 500
    code: str | int = "INTERNAL_SERVER_ERROR"
    message: str = ""
    gateway: bool = False  # the answer is a gateway's HTML, not the service's envelope
    body: str | None = None  # what a gateway says in place of its HTML
    retry_after: str | None = None
    delay: float = 0.0  # seconds before it strikes
    copies: int = 1  # how often it is stored, where it is stored
    # Which requests it meets.
    dataset: str | None = None
    contains: str | None = None  # text anywhere in the body
    matches: Callable[[Mapping[str, Any]], bool] | None = None  # any record of the batch
    above: int | None = None  # bytes of the body, uncompressed
    # How long.
    count: int | None = None
    seconds: float | None = None
    after: float = 0.0  # seconds from now

    def only(self, **scope: Any) -> Fault:
        """The same with another scope: dataset, contains, matches, above, count, seconds, after, delay."""
        return replace(self, **scope)

    @property
    def headers(self) -> Mapping[str, str]:
        """What stands above an answer of it: Retry-After, or nothing."""
        return {} if self.retry_after is None else {"Retry-After": self.retry_after}

    @property
    def page(self) -> bytes:
        """A gateway's HTML, or whatever it is to say."""
        if self.body is not None:
            return self.body.encode()
        return f"<html><body><h1>{self.status} Service Unavailable</h1></body></html>".encode()


def unavailable(retry_after: float | str | None = None, **scope: Any) -> Fault:
    """503 from a gateway, with Retry-After (seconds or an HTTP date) if wanted."""
    header = None if retry_after is None else str(retry_after)
    return Fault(name="unavailable", stage="read", status=503, gateway=True, retry_after=header, **scope)


def error(*, stored: bool = False, **scope: Any) -> Fault:
    """The service's transient 500; it tells nothing about whether the batch is stored."""
    stage: Stage = "stored" if stored else "send"
    return Fault(name="error", stage=stage, message="Request Produce(key: 0, version: 7) timed out", **scope)


def reset(stage: Stage = "arrival", **scope: Any) -> Fault:
    """The connection is reset: before the body is read, after, or after storing."""
    return Fault(name="reset", stage=stage, action="reset", **scope)


def hang(stage: Stage = "send", **scope: Any) -> Fault:
    """No answer, ever."""
    return Fault(name="hang", stage=stage, action="hang", **scope)


def slow(seconds: float, **scope: Any) -> Fault:
    """All is well, later."""
    return Fault(name="slow", stage="send", action="none", delay=seconds, **scope)


def half_answer(stage: Stage = "stored", **scope: Any) -> Fault:
    """The first half of the answer, then the connection closes."""
    return Fault(name="half_answer", stage=stage, action="half", **scope)


def refuse(message: str = "#required must have required property 'mid'", **scope: Any) -> Fault:
    """400 to everything."""
    return Fault(
        name="refuse", stage="lookup", status=400, code="DATA_INGESTION_INVALID_INPUT", message=message, **scope
    )


def refuse_containing(text: str, **scope: Any) -> Fault:
    """400 to any batch with that text in it."""
    return refuse(contains=text, **scope)


def refuse_matching(matches: Callable[[Mapping[str, Any]], bool], **scope: Any) -> Fault:
    """400 to any batch with a record for which `matches` is true."""
    return refuse(matches=matches, **scope)


def too_large(above: int, **scope: Any) -> Fault:
    """The broker's code 10 for bodies over that many bytes."""
    text = "The request included a message larger than the max message size the server will accept"
    return Fault(name="too_large", stage="send", code=10, message=text, above=above, **scope)


def answer(stage: Stage, status: int, code: str | int, message: str, **scope: Any) -> Fault:
    """Any other answer of the service."""
    return Fault(name="answer", stage=stage, status=status, code=code, message=message, **scope)


def verbatim(status: int, body: str = "", *, stored: bool = False, **scope: Any) -> Fault:
    """An answer to the byte, whoever may have given it; `stored`: only after all was stored."""
    stage: Stage = "stored" if stored else "read"
    return Fault(name="verbatim", stage=stage, status=status, gateway=True, body=body, **scope)


BY_NAME: Mapping[str, Callable[..., Fault]] = {
    "unavailable": unavailable,
    "error": error,
    "reset": reset,
    "hang": hang,
    "slow": slow,
    "half_answer": half_answer,
    "refuse": refuse,
    "refuse_containing": refuse_containing,
    "too_large": too_large,
    "answer": answer,
    "verbatim": verbatim,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a request a fault can be narrowed down to."""

    dataset: str
    body: bytes = b""
    records: Sequence[Mapping[str, Any]] = ()


def records(value: object) -> list[Mapping[str, Any]]:
    """The records of a batch, for `matches`: what a request's `data` has of objects, or the one that it is."""
    data = value.get("data") if isinstance(value, dict) else None
    items = data if isinstance(data, list) else [data]
    return [item for item in items if isinstance(item, dict)]


@dataclass(slots=True, eq=False)
class Armed:
    """A fault in force, and how often it has struck."""

    fault: Fault
    since: float
    hits: int = 0

    def strikes(self, stage: Stage, subject: Subject, now: float) -> bool:
        """Whether it meets this request at this stage."""
        fault = self.fault
        start = self.since + fault.after
        return (
            fault.stage == stage
            and start <= now
            and (fault.seconds is None or now < start + fault.seconds)
            and (fault.count is None or self.hits < fault.count)
            and (fault.dataset is None or fault.dataset == subject.dataset)
            and (fault.contains is None or fault.contains.encode() in subject.body)
            and (fault.above is None or len(subject.body) > fault.above)
            and (fault.matches is None or any(map(fault.matches, subject.records)))
        )


@dataclass(slots=True)
class Faults:
    """The faults in force; the first added that meets a request has it."""

    armed: list[Armed] = field(default_factory=list)

    def add(self, fault: Fault) -> Armed:
        """From now on; the result counts its hits and is what `remove` takes."""
        entry = Armed(fault, time.monotonic())
        self.armed.append(entry)
        return entry

    def remove(self, entry: Armed) -> None:
        """No longer, where it still was."""
        if entry in self.armed:
            self.armed.remove(entry)

    def clear(self) -> None:
        """All is well again."""
        self.armed.clear()

    @property
    def hits(self) -> int:
        """How often those in force have struck."""
        return sum(entry.hits for entry in self.armed)

    def strike(self, stage: Stage, subject: Subject) -> Fault | None:
        """The fault that meets this request here, counted."""
        now = time.monotonic()
        for entry in self.armed:
            if entry.strikes(stage, subject, now):
                entry.hits += 1
                return entry.fault
        return None
