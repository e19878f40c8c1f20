"""
The files that dead letters end in: `dead-letters/<first sequence number>.ndjson`, bounded by bytes and age.

Every line has a sequence number, so that a missing one shows, and the index it had in the dead lane, so
that none is written twice. `counts` beside them says which numbers are to be there and how many letters
of each sink were taken out of files that are gone.

A letter is taken out where it stands, by one byte (agent.spool.lines); `tidy` then makes room. The files
alone say what became of their letters, until the oldest is deleted: then one write of `counts` says it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from agent.spool import letter_files
from agent.spool.inventory import counts_of
from agent.spool.letter_files import Chunk, Place, Standing, files, path_of
from agent.spool.lines import Books, Fate, Letter, emptied, parsed, read, sink_of
from agent.spool.mark import Mark, make_directory, sync_directory, sync_file

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
        self._books = Books()  # of what was in files that are gone
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
            if (known := counts_of(self._mark)) is not None:
                self._first, self._next, self._at, self._books = known
        except FileNotFoundError:
            pass
        for left_over in self._directory.glob("*.new"):
            left_over.unlink()
        paths = files(self._directory)
        if self._sync and self._directory.is_dir():
            # What the last run wrote and did not live to sync: the dead lane goes on behind it.
            for path in (*paths[-1:], self._mark.path):
                with suppress(FileNotFoundError):
                    sync_file(path)
            sync_directory(self._directory)
        if paths:
            self._path = paths[-1]
            data = self._path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(self._path, whole)
            self._size = whole
            self._born = self._path.stat().st_mtime
            damaged = 0
            for text in data[:whole].splitlines()[-REMEMBERED:]:
                line = read(text)
                if line is None:
                    damaged += 1
                    continue
                self._next = max(self._next, line.last + 1)
                self._at = max(self._at, line.at + 1)
                key = _key(line.letter)
                self._remember([key] if key is not None else [])
            if damaged:
                log.error("dead letters are damaged, their lines stay as they are", file=str(self._path), lines=damaged)
        return self._at

    def append(self, first: int, letters: Sequence[bytes]) -> None:
        """Write letters that stand in the dead lane from index `first` on; durable on return."""
        make_directory(self._directory)
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
        make_directory(self._directory)
        for at, letter in enumerate(letters, first):
            if at >= self._at:
                self.dropped[sink_of(parsed(letter) or {})] += 1
        self._at = max(self._at, first + len(letters))
        self._save()

    def read(self, place: Place) -> Chunk | None:
        """The letters that are kept from there on, some at a time; None: there are no more."""
        return letter_files.some(self._directory, self._first, place)

    def take_out(self, letters: Iterable[Standing], fate: Fate) -> None:
        """Be done with these letters: from now on they count as replayed or dropped. Durable on return."""
        by_file: dict[str, list[Standing]] = {}
        for one in letters:
            by_file.setdefault(one.file, []).append(one)
        for name, some in by_file.items():
            if int(name) >= self._first:
                letter_files.mark(path_of(self._directory, name), some, fate, sync=self._sync)
            elif fate != "dropped":
                # Its file went meanwhile, for room or age: it is booked as dropped, but that is not what it met.
                for one in some:
                    self.dropped[sink_of(one.letter)] -= 1
                    self._books.of(fate)[sink_of(one.letter)] += 1
                self._save()

    def tidy(self, name: str) -> None:
        """Make room of what was taken out of that file; the file goes where it is the oldest and nothing is left."""
        if int(name) >= self._first:
            path = path_of(self._directory, name)
            size = letter_files.shorten(path, sync=self._sync)
            if size is not None and path == self._path:
                self._size = size
        self._fold()

    @property
    def next(self) -> int:
        """The number that the next letter gets."""
        return self._next

    @property
    def dropped(self) -> Counter[str]:
        """How many letters of each sink were dropped with the files that are gone."""
        return self._books.dropped

    def close(self) -> None:
        """Give the descriptors back."""
        self._mark.close()

    def _fold(self) -> None:
        """The oldest files go that no letter is left in, and no line that is damaged or missing."""
        while paths := files(self._directory):
            path = paths[0]
            following = int(paths[1].stem) if len(paths) > 1 else self._next
            with path.open("rb") as lines:
                gone = emptied(lines, int(path.stem), following)
            if gone is None:
                return
            self._part_with(path, following, gone)

    def _part_with(self, path: Path, following: int, gone: Books) -> None:
        """Delete the oldest file; what became of its letters is booked before it goes."""
        if int(path.stem) >= self._first:
            before = self._first, self._books
            self._first = following
            self._books = Books.sum(self._books, gone)
            try:
                self._save()  # before the file goes: a crash in between leaves it to be deleted, counted
            except OSError:
                self._first, self._books = before
                raise
        path.unlink()
        if path == self._path:
            self._path = None

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
            kept = [other for other in paths if other > path]
            gone = Books() if left_over else letter_files.books_without(path)
            self._part_with(path, int(kept[0].stem) if kept else self._next, gone)
            total -= sizes[path].st_size

    def _save(self) -> None:
        value = {
            "first": self._first,
            "next": self._next,
            "at": self._at,
            "dropped": dict(+self._books.dropped),
            "replayed": dict(self._books.replayed),
        }
        self._mark.write(value, sync=self._sync)

    def _remember(self, keys: Sequence[tuple[str, str]]) -> None:
        self._seen.update(dict.fromkeys(keys))
        while len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]


def _key(letter: Letter | None) -> tuple[str, str] | None:
    if letter is None or letter.get("id") is None:
        return None
    return str(letter["id"]), str(letter.get("sink"))
