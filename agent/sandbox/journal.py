"""The books' copy on disk: lines of JSON that outlive the process, and whoever reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """A file that is appended to; without a path, nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644) if path else None

    def close(self) -> None:
        """Nothing more is kept."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def write(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Append a line."""
        # On the loop and without fsync, on purpose: the line must be in the page cache before the answer goes out.
        if self._file is not None:
            os.write(self._file, json.dumps({"kind": kind, **entry}).encode() + b"\n")


def read(path: Path, *kinds: str) -> dict[str, list[dict[str, Any]]]:
    """The whole lines of a journal by kind, while it is written, too; KeyError where there is one of another."""
    books: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for line in path.read_bytes().rpartition(b"\n")[0].splitlines():
        entry = json.loads(line)
        books[entry.pop("kind")].append(entry)
    return books
