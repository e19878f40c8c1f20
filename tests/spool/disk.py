"""
A disk that knows what was synced, so that a crash can be made of any moment of a run.

While it records, every call that changes a file below `root` goes on to the real file system and into the log, in the
order in which the calls come to an end. From the log is made what a crash at any entry leaves:

    killed     all that the process wrote is there, of its last write perhaps a part; what was not synced still is not
    power cut  what was synced, and of the rest any part (platter.py)
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

from platter import Entry, File, Folder, Tree

CALLS = (
    "open", "close", "write", "writev", "pwrite", "ftruncate", "truncate", "fsync", "fdatasync",
    "unlink", "rename", "replace", "mkdir", "rmdir",
)  # fmt: skip


class Disk:
    """What happens below `root`, which has to be empty at first."""

    def __init__(self, root: Path) -> None:
        self.log: list[Entry] = []
        self._root = root
        self._tree = Tree()
        self._origin = Tree()  # at the beginning of the log
        self._opened: dict[int, int] = {}
        self._lock = threading.RLock()
        self._real: dict[str, Callable[..., Any]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Write down what is done to files."""
        self._real = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, getattr(self, f"_{name}"))
        try:
            yield
        finally:
            for name, function in self._real.items():
                setattr(os, name, function)

    def begin(self) -> None:
        """Begin the log anew; what is not synced stays so."""
        self._origin, self.log = deepcopy(self._tree), []

    def note(self, what: Any, value: Any) -> None:
        """Put something into the log: it was so at this moment."""
        with self._lock:
            self.log.append(("note", what, value))

    def notes(self, at: int) -> dict[Any, Any]:
        """What was noted up to that entry; of the same thing the last counts."""
        return {entry[1]: entry[2] for entry in self.log[:at] if entry[0] == "note"}

    def killed(self, at: int, rng: Random) -> Tree:
        """What is there where the process was killed at that entry of the log."""
        tree = self._replayed(at)
        if at < len(self.log) and self.log[at][0] == "write":
            _, number, place, data = self.log[at]
            tree.write(number, place, data[: rng.randint(0, len(data))])
        return tree

    def power_cut(self, at: int, rng: Random) -> Tree:
        """What is left where the power failed at that entry."""
        return self._replayed(at).after_power_cut(rng)

    def become(self, tree: Tree) -> None:
        """Go on from there, with a new log."""
        for path in self._root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        tree.put(self._root)
        self._tree = tree
        self._opened.clear()
        self.begin()

    def there(self) -> dict[str, bytes]:
        """Every file by its path, as the log has it."""
        return self._tree.files()

    def _replayed(self, at: int) -> Tree:
        tree = deepcopy(self._origin)
        for entry in self.log[:at]:
            tree.apply(entry)
        return tree

    # What the calls do.

    def _parts(self, path: Any) -> tuple[str, ...] | None:
        if isinstance(path, int):
            return None
        try:
            return Path(os.fsdecode(path)).relative_to(self._root).parts
        except ValueError:
            return None

    def _log(self, *entry: Any) -> None:
        self._tree.apply(entry)
        self.log.append(entry)

    def _made(self, parts: tuple[str, ...], node: type[File | Folder]) -> int:
        number = max(self._tree.nodes) + 1
        self._log("make", self._tree.at(parts[:-1]), parts[-1], number, node)
        return number

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with self._lock:
            fd: int = self._real["open"](path, flags, mode, dir_fd=dir_fd)
            self._opened.pop(fd, None)
            parts = self._parts(path)
            if parts is not None:
                number = self._tree.at(parts)
                if number is None:
                    number = self._made(parts, File)
                elif flags & os.O_TRUNC:
                    self._log("cut", number, 0)
                self._opened[fd] = number
            return fd

    def _close(self, fd: int) -> None:
        with self._lock:
            self._opened.pop(fd, None)
            self._real["close"](fd)

    def _put_down(self, call: str, fd: int, data: bytes, place: int | None, *arguments: Any) -> int:
        with self._lock:
            known = self._opened.get(fd)
            at = os.lseek(fd, 0, os.SEEK_CUR) if place is None and known is not None else place
            count: int = self._real[call](fd, *arguments)
            if known is not None:
                self._log("write", known, at, data[:count])
            return count

    def _write(self, fd: int, data: Any) -> int:
        return self._put_down("write", fd, bytes(data), None, data)

    def _writev(self, fd: int, buffers: Any) -> int:
        return self._put_down("writev", fd, b"".join(buffers), None, buffers)

    def _pwrite(self, fd: int, data: Any, place: int) -> int:
        return self._put_down("pwrite", fd, bytes(data), place, data, place)

    def _ftruncate(self, fd: int, size: int) -> None:
        with self._lock:
            self._real["ftruncate"](fd, size)
            if fd in self._opened:
                self._log("cut", self._opened[fd], size)

    def _truncate(self, path: Any, size: int) -> None:
        with self._lock:
            self._real["truncate"](path, size)
            if (parts := self._parts(path)) is not None:
                self._log("cut", self._tree.at(parts), size)

    def _fsync(self, fd: int) -> None:
        self._synced("fsync", fd)

    def _fdatasync(self, fd: int) -> None:
        self._synced("fdatasync", fd)

    def _synced(self, call: str, fd: int) -> None:
        with self._lock:
            self._real[call](fd)
            if fd in self._opened:
                self._log("sync", self._opened[fd])

    def _gone(self, call: str, path: Any, dir_fd: int | None) -> None:
        with self._lock:
            self._real[call](path, dir_fd=dir_fd)
            if (parts := self._parts(path)) is not None:
                self._log("name", self._tree.at(parts[:-1]), {parts[-1]: None})

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._gone("unlink", path, dir_fd)

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._gone("rmdir", path, dir_fd)

    def _moved(self, call: str, path: Any, target: Any) -> None:
        with self._lock:
            self._real[call](path, target)
            parts, into = self._parts(path), self._parts(target)
            if parts is None or into is None:
                return
            number = self._tree.at(parts)
            here, there = self._tree.at(parts[:-1]), self._tree.at(into[:-1])
            if here == there:
                self._log("name", here, {parts[-1]: None, into[-1]: number})
            else:
                self._log("name", there, {into[-1]: number})
                self._log("name", here, {parts[-1]: None})

    def _rename(self, path: Any, target: Any) -> None:
        self._moved("rename", path, target)

    def _replace(self, path: Any, target: Any) -> None:
        self._moved("replace", path, target)

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._lock:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            if (parts := self._parts(path)) is not None:
                self._made(parts, Folder)
