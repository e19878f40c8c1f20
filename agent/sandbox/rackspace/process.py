"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox import child
from agent.sandbox.rackspace import ledger
from agent.sandbox.rackspace.ledger import Side, Stored


@dataclass(frozen=True, slots=True)
class Process:
    """A running stand-in."""

    url: str
    query_url: str
    identity_url: str
    journal: Path

    def fault(self, name: str, *, at: Side = "ingest", **options: Any) -> None:
        """Begin to fail: a name out of `failing.BY_NAME` and its options."""
        child.call(self.url, "POST", "faults", {"fault": name, "at": at, **options})

    def heal(self) -> None:
        """Stop failing."""
        child.call(self.url, "DELETE", "faults")

    def hits(self) -> int:
        """How often the faults in force have struck."""
        return int(child.call(self.url, "GET", "hits"))

    def clock(self, offset: float) -> None:
        """Set the far side's clock so many seconds off."""
        child.call(self.url, "POST", "clock", {"offset": offset})

    def revoke(self) -> None:
        """End every token; who asks gets a new one."""
        child.call(self.url, "DELETE", "tokens")

    def distrust(self) -> None:
        """Refuse the tokens there are, while Identity gives out the same."""
        child.call(self.url, "POST", "tokens", {"distrust": True})

    def rotate(self, username: str, api_key: str, *, revoke: bool = True, enabled: bool = True) -> None:
        """Give a user another key."""
        child.call(
            self.url, "POST", "keys", {"username": username, "api_key": api_key, "revoke": revoke, "enabled": enabled}
        )

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(child.call(self.url, "GET", "report")))

    def events(self, tenant: str | None = None) -> list[Stored]:
        """What is stored, by the journal."""
        return ledger.stored_events(self.journal, tenant)

    def busiest(self, tenant: str | None = None, seconds: float = 60.0) -> int:
        """The most requests of a tenant within any stretch of so many seconds, by the journal."""
        return ledger.busiest_of(self.journal, tenant, seconds)


@contextmanager
def start(
    journal: Path,
    *,
    hosted: bool = False,
    mode: str = "naive",
    clock_offset: float = 0.0,
    rate: int = 1000,
    host: str = "127.0.0.1",
    ports: Sequence[int] = (0, 0, 0),
    options: Sequence[str] = (),
) -> Iterator[Process]:
    """
    Run one until left. It ends with whoever started it, kill -9 included.

    `ports` are ingest's, query's and Identity's; `options` are further words of the command line.
    """
    arguments = ["--journal", str(journal), "--host", host]
    for name, port in zip(("--port", "--query-port", "--identity-port"), ports, strict=True):
        arguments += [name, str(port)]
    arguments += ["--mode", mode, "--clock-offset", str(clock_offset), "--rate", str(rate), *options]
    arguments += ["--hosted"] if hosted else []
    with child.started("agent.sandbox.rackspace", arguments, addresses=3) as (ingest, query, identity):
        yield Process(ingest, query, identity, journal)
