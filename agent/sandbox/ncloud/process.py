"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox import child
from agent.sandbox.ncloud import ledger
from agent.sandbox.ncloud.gateway import Key


@dataclass(frozen=True, slots=True)
class Process:
    """A running stand-in."""

    url: str
    journal: Path

    def fault(self, name: str, **options: Any) -> None:
        """Begin to fail: a name out of `troubles.BY_NAME` and its options."""
        child.call(self.url, "POST", "faults", {"fault": name, **options})

    def heal(self) -> None:
        """Stop failing."""
        child.call(self.url, "DELETE", "faults")

    def hits(self) -> int:
        """How often the faults in force have struck."""
        return int(child.call(self.url, "GET", "hits"))

    def add_key(self, key: Key) -> None:
        """From now on that key may call."""
        child.call(self.url, "POST", "keys", {"id": key.id, "secret": key.secret, "rights": sorted(key.rights)})

    def revoke_key(self, key_id: str) -> None:
        """That key may no longer."""
        child.call(self.url, "DELETE", f"keys/{key_id}")

    def schema(self, row: Mapping[str, Any]) -> None:
        """Add or replace a schema."""
        child.call(self.url, "POST", "schemas", row)

    def settings(self, **values: Any) -> None:
        """Change what `Settings` has."""
        child.call(self.url, "POST", "settings", values)

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(child.call(self.url, "GET", "report")))

    def rows(self, cw_key: str, *, targeted: bool = True) -> list[dict[str, Any]]:
        """The stored rows, by the journal."""
        return ledger.journalled_rows(self.journal, cw_key, targeted=targeted)


@contextmanager
def start(
    journal: Path,
    *,
    keys: Sequence[Key] = (),
    schemas: Sequence[Mapping[str, Any]] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    **settings: Any,
) -> Iterator[Process]:
    """Run one until left. It ends with whoever started it, kill -9 included."""
    arguments = ["--journal", str(journal)]
    arguments += ["--host", host, "--port", str(port), "--settings", json.dumps(settings)]
    for key in keys:
        arguments += ["--key", f"{key.id}:{key.secret}"]
    for row in schemas:
        arguments += ["--schema", json.dumps(row)]
    with child.started("agent.sandbox.ncloud", arguments) as (url,):
        yield Process(url, journal)
