"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox import child
from agent.sandbox.obsrv import ledger
from agent.sandbox.obsrv.tokens import Key


@dataclass(frozen=True, slots=True)
class Process:
    """A running stand-in."""

    url: str
    journal: Path

    def fault(self, name: str, **options: Any) -> None:
        """Begin to fail: a name out of `faults.BY_NAME` and its options."""
        child.call(self.url, "POST", "faults", {"fault": name, **options})

    def heal(self) -> None:
        """Stop failing."""
        child.call(self.url, "DELETE", "faults")

    def hits(self) -> int:
        """How often the faults in force have struck."""
        return int(child.call(self.url, "GET", "hits"))

    def dataset(self, row: dict[str, Any]) -> None:
        """Add or replace a dataset."""
        child.call(self.url, "POST", "datasets", row)

    def rbac(self, key: Key) -> None:
        """Ask for tokens that this key has signed."""
        child.call(self.url, "POST", "rbac", {"modulus": str(key.modulus)})

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(child.call(self.url, "GET", "report")))

    def stored_ids(self, dataset: str) -> Counter[str]:
        """How often each id is stored, by the journal."""
        return ledger.stored_ids(self.journal, dataset)


@contextmanager
def start(journal: Path, *, datasets: Sequence[str] = (), rows: Path | None = None, port: int = 0) -> Iterator[Process]:
    """Run one until left. It ends with whoever started it, kill -9 included."""
    arguments = ["--port", str(port), "--journal", str(journal)]
    for name in datasets:
        arguments += ["--dataset", name]
    if rows is not None:
        arguments += ["--datasets", str(rows)]
    with child.started("agent.sandbox.obsrv", arguments) as (url,):
        yield Process(url, journal)
