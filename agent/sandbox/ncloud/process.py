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

    def job(self, job_id: str, name: str = "job", **fields: Any) -> None:
        """Add or replace a job of Data Flow; `fields` are those of `books.Job`."""
        child.call(self.url, "POST", "jobs", {"job_id": job_id, "name": name, **fields})

    def trigger(self, trigger_id: str, name: str = "trigger", **fields: Any) -> None:
        """Add or replace a trigger; `fields` are those of `books.Trigger`."""
        child.call(self.url, "POST", "triggers", {"trigger_id": trigger_id, "name": name, **fields})

    def workflow(self, workflow_id: str, name: str = "workflow", *, trigger: str, jobs: Sequence[str]) -> None:
        """Add or replace a workflow: jobs one after the other behind a trigger."""
        row = {"workflow_id": workflow_id, "name": name, "trigger": trigger, "jobs": list(jobs)}
        child.call(self.url, "POST", "workflows", row)

    def outcome(self, **how: Any) -> None:
        """How executions to come will go: job, end, wait, take, count."""
        child.call(self.url, "POST", "outcomes", how)

    def begin(self, job_id: str) -> None:
        """Somebody else starts a job."""
        child.call(self.url, "POST", "started", {"job": job_id})

    def cut(self, execution_id: str, end: str = "CANCELED") -> None:
        """An execution ends now."""
        child.call(self.url, "POST", "cut", {"execution": execution_id, "end": end})

    def executions(self, job_id: str = "") -> list[dict[str, Any]]:
        """Those of a job, or of all, in the order of their making: job, id, at, status, workflow."""
        return [json.loads(line) for line in child.call(self.url, "GET", f"executions/{job_id}").splitlines()]

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
