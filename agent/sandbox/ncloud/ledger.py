"""What the far side was asked, what it kept, and what it let fall: what the tests and the demo ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.sandbox.journal import Journal, read
from agent.sandbox.ncloud.rows import Row

_TOLD = ("at", "method", "target", "size", "rows", "status", "result", "cw_key", "region", "deprecated", "fault")


@dataclass(slots=True, kw_only=True)
class Request:
    """One HTTP request, without its secrets."""

    at: int  # ms, the far side's clock
    method: str
    target: str  # the raw one; bytes that are not UTF-8 as surrogates
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str = field(default="", repr=False)  # the id of the key it was rightly signed with
    timestamp: str = ""
    stamp: str = ""  # a digest of the signature: two tries must not have the same
    size: int = 0
    crc: int = 0
    cw_key: str = ""
    rows: int = 0
    region: str | None = None
    deprecated: bool = False  # by the path that the vendor has given up
    status: int | None = None  # None: never answered, or cut
    result: str | None = None  # SendData's
    trace: str = ""
    seconds: float = 0.0
    fault: str = ""  # the fault that met it


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """Records that were taken in, perhaps with a good word, and thrown away."""

    reason: str  # no cw_key, unknown cw_key, not an object, mistyped, no metric, too many rows, ...
    cw_key: str
    count: int
    request: int


class Ledger:
    """The books, in memory and, with `journal`, as lines of JSON that outlive the process."""

    def __init__(self, journal: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.discarded: list[Discarded] = []
        self.dropped: Counter[tuple[str, str, str]] = Counter()  # (cw_key, field, why)
        self._rows: dict[str, list[Row]] = {}
        self._journal = Journal(journal)

    def close(self) -> None:
        self._journal.close()

    def rows(self, cw_key: str) -> list[Row]:
        """All rows, with a target or without, in order of arrival."""
        return self._rows.get(cw_key, [])

    def keys(self) -> list[str]:
        """The cw_keys that have rows."""
        return list(self._rows)

    def store(self, cw_key: str, rows: Iterable[Row]) -> None:
        """Keep the rows of one request."""
        rows = list(rows)
        if not rows:
            return
        self._rows.setdefault(cw_key, []).extend(rows)
        for row in rows:
            self.dropped.update((cw_key, name, why) for name, why in row.dropped.items())
        told = [
            {
                "at": row.at,
                "target": row.target,
                "dimensions": row.dimensions,
                "metrics": row.metrics,
                "dropped": row.dropped,
            }
            for row in rows
        ]
        self._journal.write("stored", {"cw_key": cw_key, "request": rows[0].request, "rows": told})

    def discard(self, reason: str, cw_key: str, count: int, request: int) -> None:
        """Throw some away."""
        self.discarded.append(Discarded(reason=reason, cw_key=cw_key, count=count, request=request))
        self._journal.write("discarded", {"reason": reason, "cw_key": cw_key, "count": count, "request": request})

    def executed(self, execution: Mapping[str, Any]) -> None:
        """An execution of Data Flow has come to another status."""
        self._journal.write("execution", execution)

    def finished(self, request: Request) -> None:
        """All is known of a request."""
        self._journal.write("request", {name: getattr(request, name) for name in _TOLD})

    def report(self) -> dict[str, Any]:
        """The books in short."""
        kept = {cw_key: Counter(row.target is not None for row in rows) for cw_key, rows in self._rows.items()}
        discarded: Counter[str] = Counter()
        for entry in self.discarded:
            discarded[entry.reason] += entry.count
        return {
            "requests": len(self.requests),
            "statuses": dict(Counter(str(request.status) for request in self.requests)),
            "results": dict(Counter(request.result for request in self.requests if request.result is not None)),
            "deprecated": sum(request.deprecated for request in self.requests),
            "stored": {cw_key: count[True] for cw_key, count in kept.items()},
            "untargeted": {cw_key: count[False] for cw_key, count in kept.items() if count[False]},
            "discarded": dict(discarded),
            "dropped": [[*entry, count] for entry, count in self.dropped.items()],
        }


def read_journal(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a journal by kind."""
    return read(path, "stored", "discarded", "request", "execution")


def journalled_rows(path: Path, cw_key: str, *, targeted: bool = True) -> list[dict[str, Any]]:
    """The stored rows of a cw_key by a journal: those with a target, or those without."""
    entries = (entry for entry in read_journal(path)["stored"] if entry["cw_key"] == cw_key)
    return [row for entry in entries for row in entry["rows"] if (row["target"] is not None) == targeted]
