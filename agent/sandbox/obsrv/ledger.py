"""What the far side took, what it kept, and what it saw twice: what the tests and the demo ask."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.sandbox.journal import Journal, read
from agent.sandbox.obsrv.pipeline import Fate


@dataclass(slots=True, kw_only=True)
class Request:
    """One HTTP request."""

    at: float  # wall clock
    method: str
    path: str
    size: int = 0  # bytes of the body on the wire
    plain: int = 0  # after decompression
    crc: int = 0  # of the body on the wire: a resend should have the same
    msgid: str = ""
    records: int = 0
    status: int | None = None  # None: never answered, or cut
    seconds: float = 0.0
    fault: str = ""  # the fault that met it
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One record in the entry topic: one request, whatever was answered."""

    at: float
    dataset: str
    msgid: str
    count: int
    batch: bool
    crc: int  # of the data as stored, without white space
    status: int | None  # 200, or the fault's: a 500 does not mean "not stored"
    topic: str
    record: Mapping[str, Any] = field(repr=False)  # as it stands in the topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One event that came through the pipeline."""

    dataset: str
    id: str
    msgid: str
    position: int
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """One event that was accepted and not stored."""

    dataset: str
    id: str
    msgid: str
    position: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One msgid sent with two different data: the second is lost where batches are deduplicated."""

    dataset: str
    msgid: str
    first_crc: int
    second_crc: int


_ACCEPTED = ("at", "dataset", "msgid", "count", "batch", "crc", "status")


class Ledger:
    """The books, in memory and, with `journal`, as lines of JSON that outlive the process."""

    def __init__(self, *, id_keys: Iterable[str] = ("uid", "fields.uid", "id"), journal: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.accepted: list[Accepted] = []
        self.lost: list[Lost] = []
        self.conflicts: list[Conflict] = []
        self._stored: dict[str, list[Stored]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._id_keys = [key.split(".") for key in id_keys]
        self._journal = Journal(journal)

    def close(self) -> None:
        self._journal.close()

    def stored(self, dataset: str) -> list[Stored]:
        """What came through the pipeline, in order."""
        return self._stored.get(dataset, [])

    def ids(self, dataset: str) -> Counter[str]:
        """How often each id is stored."""
        return Counter(item.id for item in self.stored(dataset))

    def saw(self, dataset: str, msgid: str, data: object) -> int:
        """Note a well-formed request, taken or not; give the crc of its data."""
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        crc = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        first = self._seen.setdefault((dataset, msgid), crc)
        if first != crc:
            conflict = Conflict(dataset=dataset, msgid=msgid, first_crc=first, second_crc=crc)
            self.conflicts.append(conflict)
            self._journal.write("conflict", asdict(conflict))
        return crc

    def accept(self, entry: Accepted, fates: Iterable[Fate]) -> None:
        """Note a record in the topic and what became of its events."""
        self.accepted.append(entry)
        self._journal.write("accepted", {name: getattr(entry, name) for name in _ACCEPTED})
        ids: list[str] = []
        for fate in fates:
            key = self.id_of(fate.event)
            dataset, msgid, position = entry.dataset, entry.msgid, fate.position
            if fate.reason:
                lost = Lost(
                    dataset=dataset, id=key, msgid=msgid, position=position, reason=fate.reason, detail=fate.detail
                )
                self.lost.append(lost)
                self._journal.write("lost", asdict(lost))
            else:
                stored = Stored(dataset=dataset, id=key, msgid=msgid, position=position, event=fate.event)
                self._stored.setdefault(dataset, []).append(stored)
                ids.append(key)
        if ids:
            self._journal.write("stored", {"dataset": entry.dataset, "msgid": entry.msgid, "ids": ids})

    def id_of(self, event: Mapping[str, Any]) -> str:
        """The event's own id: the first of the id keys that it has."""
        for path in self._id_keys:
            value: object = event
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None:
                return str(value)
        return ""

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return {
            "requests": len(self.requests),
            "statuses": dict(Counter(str(request.status) for request in self.requests)),
            "accepted": len(self.accepted),
            "accepted_records": sum(entry.count for entry in self.accepted),
            "stored": {dataset: len(items) for dataset, items in self._stored.items()},
            "lost": dict(Counter(item.reason for item in self.lost)),
            "conflicts": [asdict(conflict) for conflict in self.conflicts],
        }


def read_journal(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a journal by kind."""
    return read(path, "accepted", "stored", "lost", "conflict")


def stored_ids(path: Path, dataset: str) -> Counter[str]:
    """How often each id is stored, by a journal."""
    entries = read_journal(path)["stored"]
    return Counter(key for entry in entries if entry["dataset"] == dataset for key in entry["ids"])
