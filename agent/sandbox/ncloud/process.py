"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox.ncloud import ledger
from agent.sandbox.ncloud.gateway import Key


@dataclass(frozen=True, slots=True)
class Process:
    """A running stand-in."""

    url: str
    journal: Path

    def fault(self, name: str, **options: Any) -> None:
        """Begin to fail: a name out of `troubles.BY_NAME` and its options."""
        self._call("POST", "faults", {"fault": name, **options})

    def heal(self) -> None:
        """Stop failing."""
        self._call("DELETE", "faults")

    def add_key(self, key: Key) -> None:
        """From now on that key may call."""
        self._call("POST", "keys", {"id": key.id, "secret": key.secret, "rights": sorted(key.rights)})

    def revoke_key(self, key_id: str) -> None:
        """That key may no longer."""
        self._call("DELETE", f"keys/{key_id}")

    def schema(self, row: Mapping[str, Any]) -> None:
        """Add or replace a schema."""
        self._call("POST", "schemas", row)

    def settings(self, **values: Any) -> None:
        """Change what `Settings` has."""
        self._call("POST", "settings", values)

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(self._call("GET", "report")))

    def rows(self, cw_key: str, *, targeted: bool = True) -> list[dict[str, Any]]:
        """The stored rows, by the journal."""
        return ledger.journalled_rows(self.journal, cw_key, targeted=targeted)

    def _call(self, method: str, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", data, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback, our own process
            return bytes(answer.read())


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
    command = [sys.executable, "-m", "agent.sandbox.ncloud", "--parent", "--journal", str(journal)]
    command += ["--host", host, "--port", str(port), "--settings", json.dumps(settings)]
    for key in keys:
        command += ["--key", f"{key.id}:{key.secret}"]
    for row in schemas:
        command += ["--schema", json.dumps(row)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None  # noqa: S101 - PIPE was asked for
            url = child.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"the sandbox did not start: exit {child.wait(10)}")
            yield Process(url, journal)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
