"""What the far side was asked, what it stored and under whose name, and how busy a tenant was."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from agent.sandbox.journal import Journal, read
from agent.sandbox.rackspace.elasticsearch import Document

Side = Literal["ingest", "query", "identity"]


@dataclass(slots=True, kw_only=True)
class Request:
    """One HTTP request, noted when it came."""

    at: float  # wall clock of this machine, whatever the far side's says
    side: Side
    method: str
    path: str
    tenant: str  # the path's, "" where it has none
    size: int = 0  # bytes of the body on the wire
    plain: int = 0  # after decompression
    status: int | None = None  # None: never answered, or cut
    seconds: float = 0.0
    fault: str = ""  # the fault that met it, or why nobody answered
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One document. `tenant` is whose it became, `sent_to` whose path it came by."""

    at: float
    tenant: str
    sent_to: str
    what: str | None
    when: int
    tags: str | None
    data: str | None
    status: int | None  # 200, or the fault's: a 500 does not mean "not stored"
    doubled: tuple[str, ...] = ()  # keys the document had twice: a value has broken out of its quotes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """One event that was in order and was not stored."""

    at: float
    tenant: str
    reason: str
    status: int
    what: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """One token handed out; `again`: the same as before."""

    at: float
    username: str
    tenant: str
    again: bool
    expires: float


_REQUEST = ("at", "side", "method", "path", "tenant", "size", "plain", "status", "fault")


class Ledger:
    """The books, in memory and, with `journal`, as lines of JSON that outlive the process."""

    def __init__(self, journal: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.stored: list[Stored] = []
        self.lost: list[Lost] = []
        self.issued: list[Issued] = []
        self._journal = Journal(journal)

    def close(self) -> None:
        self._journal.close()

    def ended(self, request: Request) -> None:
        """A request is over; it is in `requests` since it came."""
        self._journal.write("request", {name: getattr(request, name) for name in _REQUEST})

    def store(self, document: Document, sent_to: str, status: int | None, copies: int = 1) -> None:
        """Nothing is looked for that might be there already."""
        for _ in range(copies):
            item = Stored(
                at=time.time(),
                tenant=document.tenant,
                sent_to=sent_to,
                what=document.what,
                when=document.when,
                tags=document.tags,
                data=document.data,
                status=status,
                doubled=document.doubled,
            )
            self.stored.append(item)
            self._journal.write("stored", asdict(item))

    def lose(self, tenant: str, reason: str, status: int, what: str | None) -> None:
        item = Lost(at=time.time(), tenant=tenant, reason=reason, status=status, what=what)
        self.lost.append(item)
        self._journal.write("lost", asdict(item))

    def issue(self, username: str, tenant: str, expires: float, *, again: bool) -> None:
        item = Issued(at=time.time(), username=username, tenant=tenant, again=again, expires=expires)
        self.issued.append(item)
        self._journal.write("issued", asdict(item))

    def events(self, tenant: str | None = None) -> list[Stored]:
        """What is stored under a tenant, or at all."""
        return [item for item in self.stored if tenant in (None, item.tenant)]

    def tenants(self) -> Counter[str]:
        """How many documents each tenant has."""
        return Counter(item.tenant for item in self.stored)

    def busiest(self, tenant: str | None = None, seconds: float = 60.0) -> int:
        """The most requests of a tenant (or of any one) within any stretch of so many seconds, Identity's aside."""
        return busiest(((item.at, item.tenant) for item in self.requests if item.side != "identity"), tenant, seconds)

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return {
            "requests": dict(Counter(item.side for item in self.requests)),
            "statuses": dict(Counter(str(item.status) for item in self.requests if item.side == "ingest")),
            "stored": dict(self.tenants()),
            "lost": dict(Counter(item.reason for item in self.lost)),
            "doubled": sum(1 for item in self.stored if item.doubled),
            "tokens": {
                "new": sum(not item.again for item in self.issued),
                "again": sum(item.again for item in self.issued),
            },
            "busiest_minute": self.busiest(),
        }


def busiest(requests: Iterable[tuple[float, str]], tenant: str | None, seconds: float) -> int:
    """The most of (time, tenant) of one tenant within any stretch of so many seconds."""
    most = 0
    recent: defaultdict[str, deque[float]] = defaultdict(deque)
    for at, whose in sorted(requests):
        if tenant in (None, whose):
            times = recent[whose]
            times.append(at)
            while times[0] <= at - seconds:
                times.popleft()
            most = max(most, len(times))
    return most


def read_journal(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a journal by kind: request, stored, lost, issued."""
    return read(path, "request", "stored", "lost", "issued")


def stored_events(path: Path, tenant: str | None = None) -> list[Stored]:
    """What is stored, by a journal."""
    entries = read_journal(path)["stored"]
    return [
        Stored(**{**entry, "doubled": tuple(entry["doubled"])})
        for entry in entries
        if tenant in (None, entry["tenant"])
    ]


def busiest_of(path: Path, tenant: str | None = None, seconds: float = 60.0) -> int:
    """`Ledger.busiest`, by a journal."""
    entries = read_journal(path)["request"]
    return busiest(((item["at"], item["tenant"]) for item in entries if item["side"] != "identity"), tenant, seconds)
