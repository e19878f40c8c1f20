"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        self._call("POST", "faults", {"fault": name, "at": at, **options})

    def heal(self) -> None:
        """Stop failing."""
        self._call("DELETE", "faults")

    def clock(self, offset: float) -> None:
        """Set the far side's clock so many seconds off."""
        self._call("POST", "clock", {"offset": offset})

    def revoke(self) -> None:
        """End every token; who asks gets a new one."""
        self._call("DELETE", "tokens")

    def distrust(self) -> None:
        """Refuse the tokens there are, while Identity gives out the same."""
        self._call("POST", "tokens", {"distrust": True})

    def rotate(self, username: str, api_key: str, *, revoke: bool = True, enabled: bool = True) -> None:
        """Give a user another key."""
        self._call("POST", "keys", {"username": username, "api_key": api_key, "revoke": revoke, "enabled": enabled})

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(self._call("GET", "report")))

    def events(self, tenant: str | None = None) -> list[Stored]:
        """What is stored, by the journal."""
        return ledger.stored_events(self.journal, tenant)

    def busiest(self, tenant: str | None = None, seconds: float = 60.0) -> int:
        """The most requests of a tenant within any stretch of so many seconds, by the journal."""
        return ledger.busiest_of(self.journal, tenant, seconds)

    def _call(self, method: str, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", data, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback, our own process
            return bytes(answer.read())


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
    command = [sys.executable, "-m", "agent.sandbox.rackspace", "--parent", "--journal", str(journal), "--host", host]
    for name, port in zip(("--port", "--query-port", "--identity-port"), ports, strict=True):
        command += [name, str(port)]
    command += ["--mode", mode, "--clock-offset", str(clock_offset), "--rate", str(rate), *options]
    command += ["--hosted"] if hosted else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None  # noqa: S101 - PIPE was asked for
            urls = child.stdout.readline().split()
            if len(urls) != 3:
                raise RuntimeError(f"the sandbox did not start: exit {child.wait(10)}")
            ingest, query, identity = urls
            yield Process(ingest, query, identity, journal)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
