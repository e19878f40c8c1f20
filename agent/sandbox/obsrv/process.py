"""The stand-in as a child process that outlives the agent under test, and its control from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.sandbox.obsrv import ledger


@dataclass(frozen=True, slots=True)
class Process:
    """A running stand-in."""

    url: str
    journal: Path

    def fault(self, name: str, **options: Any) -> None:
        """Begin to fail: a name out of `faults.BY_NAME` and its options."""
        self._call("POST", "faults", {"fault": name, **options})

    def heal(self) -> None:
        """Stop failing."""
        self._call("DELETE", "faults")

    def dataset(self, row: dict[str, Any]) -> None:
        """Add or replace a dataset."""
        self._call("POST", "datasets", row)

    def report(self) -> dict[str, Any]:
        """The books in short."""
        return dict(json.loads(self._call("GET", "report")))

    def stored_ids(self, dataset: str) -> Counter[str]:
        """How often each id is stored, by the journal."""
        return ledger.stored_ids(self.journal, dataset)

    def _call(self, method: str, path: str, body: object = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", data, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback, our own process
            return bytes(answer.read())


@contextmanager
def start(journal: Path, *, datasets: Sequence[str] = (), rows: Path | None = None, port: int = 0) -> Iterator[Process]:
    """Run one until left. It ends with whoever started it, kill -9 included."""
    command = [sys.executable, "-m", "agent.sandbox.obsrv", "--parent", "--port", str(port), "--journal", str(journal)]
    for name in datasets:
        command += ["--dataset", name]
    if rows is not None:
        command += ["--datasets", str(rows)]
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
