"""
The files that dead letters end in: `dead-letters/<first sequence number>.ndjson`, bounded by bytes and age.

Every line has a sequence number, so that a missing one shows, and the index it had in the dead lane, so
that none is written twice. `counts` beside them says which numbers are to be there and how many letters
of each sink had to be dropped.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

from agent.spool.mark import Mark, sync_directory

log = structlog.get_logger()

LARGEST_FILE = 4 << 20
REMEMBERED = 4096  # letters whose second copy, from a retry after a crash, is left out


class Letters:
    """Appends to the files and drops the oldest. Every method blocks; one thread at a time."""

    def __init__(
        self, directory: Path, *, max_bytes: int, max_age: float, sync: bool, now: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._sync = sync
        self._now = now
        self._mark = Mark(directory / "counts")
        self.dropped: Counter[str] = Counter()
        self._first = 0  # the lowest number that is kept
        self._next = 0
        self._at = 0  # the dead lane is done up to here
        self._seen: dict[tuple[str, str], None] = {}
        self._path: Path | None = None
        self._size = 0
        self._born = 0.0

    def load(self) -> int:
        """Read what is there, cut off a torn line; the index the dead lane goes on from."""
        try:
            if self._mark.load() and self._mark.value is not None:
                value = self._mark.value
                self._first, self._next, self._at = int(value["first"]), int(value["next"]), int(value["at"])
                self.dropped = Counter({str(sink): int(count) for sink, count in value["dropped"].items()})
        except FileNotFoundError:
            pass
        paths = files(self._directory)
        if paths:
            self._path = paths[-1]
            data = self._path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self._path, whole)
            self._size = whole
            self._born = self._path.stat().st_mtime
            damaged = 0
            for line in data[:whole].splitlines()[-REMEMBERED:]:
                letter = kept(line)
                if letter is None:
                    damaged += 1
                    continue
                self._next = max(self._next, letter["seq"] + 1)
                self._at = max(self._at, letter["at"] + 1)
                key = _key(letter)
                self._remember([key] if key is not None else [])
            if damaged:
                log.error("dead letters are damaged, their lines stay as they are", file=str(self._path), lines=damaged)
        return self._at

    def append(self, first: int, letters: Sequence[bytes]) -> None:
        """Write letters that stand in the dead lane from index `first` on; durable on return."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        lines: list[bytes] = []
        keys: list[tuple[str, str]] = []
        size = 0
        for at, letter in enumerate(letters, first):
            key = _key(parsed(letter))
            if at < self._at or (key is not None and (key in self._seen or key in keys)):
                continue
            line = b'{"seq":%d,"at":%d,%b\n' % (self._next + len(lines), at, letter[1:])
            if lines and size + len(line) > self._file_size:
                self._keep(lines, keys, at)
                lines, keys, size = [], [], 0
            lines.append(line)
            size += len(line)
            if key is not None:
                keys.append(key)
        self._keep(lines, keys, first + len(letters))
        self._save()

    def drop(self, first: int, letters: Sequence[bytes]) -> None:
        """Count letters without keeping them: there is no room."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for at, letter in enumerate(letters, first):
            if at >= self._at:
                self.dropped[str((parsed(letter) or {}).get("sink"))] += 1
        self._at = max(self._at, first + len(letters))
        self._save()

    def close(self) -> None:
        """Give the descriptors back."""
        self._mark.close()

    def _keep(self, lines: list[bytes], keys: Sequence[tuple[str, str]], done: int) -> None:
        """Lines become durable; the dead lane is done up to `done` then."""
        if lines:
            data = b"".join(lines)
            self._prune(len(data))
            self._write(data)
        self._remember(keys)
        self._next += len(lines)
        self._at = max(self._at, done)

    @property
    def _file_size(self) -> int:
        return max(64 * 1024, min(LARGEST_FILE, self._max_bytes // 16))

    def _write(self, data: bytes) -> None:
        now = self._now()
        if self._path is None or self._size + len(data) > self._file_size or now - self._born > 86400:
            self._path, self._size, self._born = self._directory / f"{self._next:016d}.ndjson", 0, now
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.pwrite(fd, data, self._size) != len(data):
                os.ftruncate(fd, self._size)
                raise OSError(f"{self._path}: short write")
            if self._sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        if self._sync and not self._size:
            sync_directory(self._directory)
        self._size += len(data)

    def _prune(self, incoming: int) -> None:
        """Drop the oldest files until there is room for so many bytes more."""
        paths = files(self._directory)
        sizes = {path: path.stat() for path in paths}
        total = incoming + sum(found.st_size for found in sizes.values())
        oldest_wanted = self._now() - self._max_age
        for path in paths:
            over = total > self._max_bytes and path != self._path
            stale = sizes[path].st_mtime < oldest_wanted
            left_over = int(path.stem) < self._first
            if not (over or stale or left_over):
                return
            if not left_over:
                kept = [other for other in paths if other > path]
                self._first = int(kept[0].stem) if kept else self._next
                for line in path.read_bytes().splitlines():
                    self.dropped[str((parsed(line) or {}).get("sink"))] += 1
                self._save()  # before the file goes: a crash in between leaves it to be deleted, counted
            path.unlink()
            total -= sizes[path].st_size
            if path == self._path:
                self._path = None

    def _save(self) -> None:
        value = {"first": self._first, "next": self._next, "at": self._at, "dropped": dict(self.dropped)}
        self._mark.write(value, sync=self._sync)

    def _remember(self, keys: Sequence[tuple[str, str]]) -> None:
        self._seen.update(dict.fromkeys(keys))
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]


def _key(letter: dict[str, Any] | None) -> tuple[str, str] | None:
    if letter is None or letter.get("id") is None:
        return None
    return str(letter["id"]), str(letter.get("sink"))


def files(directory: Path) -> list[Path]:
    """The files of letters, oldest first."""
    return sorted(path for path in directory.glob("*.ndjson") if path.stem.isdigit())


@dataclass(slots=True)
class Found:
    """What stands in the directory, for whoever only looks."""

    letters: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    at: int = 0  # the dead lane is done up to here
    gaps: list[str] = field(default_factory=list)


def look(directory: Path) -> Found:
    """Read everything and change nothing."""
    out = Found()
    first, following = 0, 0
    mark = Mark(directory / "counts")
    try:
        if mark.load() and mark.value is not None:
            first, following, out.at = int(mark.value["first"]), int(mark.value["next"]), int(mark.value["at"])
            out.dropped = Counter(mark.value["dropped"])
        else:
            out.gaps.append("counts: damaged")
    except FileNotFoundError:
        pass
    expected = first
    for path in files(directory):
        damaged = 0
        for line in path.read_bytes().splitlines():
            letter = kept(line)
            if letter is None:
                damaged += 1
                continue
            if letter["seq"] < first:
                continue
            if letter["seq"] > expected:
                out.gaps.append(f"{path.name}: letters {expected} to {letter['seq'] - 1} are gone")
            expected = letter["seq"] + 1
            out.at = max(out.at, letter["at"] + 1)
            out.letters.append(letter)
        if damaged:
            out.gaps.append(f"{path.name}: damaged lines: {damaged}")
    if expected < following:
        out.gaps.append(f"letters {expected} to {following - 1} are gone")
    return out


def parsed(line: bytes) -> dict[str, Any] | None:
    """A letter as it stands in the dead lane; None where it is none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def kept(line: bytes) -> dict[str, Any] | None:
    """A line of a file as a letter; None where it is damaged."""
    letter = parsed(line)
    sound = letter is not None and isinstance(letter.get("seq"), int) and isinstance(letter.get("at"), int)
    return letter if sound else None
