"""
What a process did to its files, in order, so that a power cut can be played afterwards (faults/inject/powercut.py).

A line of JSON an entry, its bytes behind it. Files and directories have numbers, since names move:

    {"op": "found", "of": 3, "in": 2, "name": "head", "directory": false, "size": 32768}   at the start, all durable
    {"op": "made", "of": 4, "in": 2, "name": "0...-a.seg", "directory": false}
    {"op": "write", "of": 4, "at": 0, "size": 256}       {"op": "cut", "of": 4, "to": 0}
    {"op": "move", "of": 4, "in": 2, "name": "format.new", "to": 2, "as": "format"}
    {"op": "drop", "in": 2, "name": "..."}
    {"op": "sync", "of": 4, "before": 17}                durable is what entries before number 17 did to it

Written to the page cache, which outlives kill -9. Each entry follows what it tells of: what the end comes between
was not synced either.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import Any

_open, _writev = os.open, os.writev


class Journal:
    """The journal of this process, of everything at and below `top`."""

    def __init__(self, top: str, file: str) -> None:
        self._top = os.path.realpath(top)
        self._numbers: dict[str, int] = {}
        self._last = 0
        self._lock = threading.Lock()
        self.length = 0  # entries so far
        self._fd = _open(file + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._numbers[os.path.dirname(self._top)] = 0
        self._find(self._top)
        os.rename(file + ".new", file)  # whoever is killed before this has no journal, and has done nothing

    @classmethod
    def begun(cls, options: dict[str, str] | None) -> Journal | None:
        """The one that the control file asks for; the process's number is added to the name of the file."""
        return None if options is None else cls(options["top"], f"{options['file']}.{os.getpid()}")

    def covers(self, path: str) -> bool:
        """Whether it keeps account of that file."""
        return path in self._numbers

    def made(self, path: str, *, is_directory: bool) -> None:
        with self._lock:
            if path == self._top or path.startswith(self._top + os.sep):
                self._name("made", path, is_directory)

    def wrote(self, path: str, at: int, data: bytes) -> None:
        with self._lock:
            if (number := self._numbers.get(path)) is not None:
                self._add({"op": "write", "of": number, "at": at}, data)

    def cut(self, path: str, to: int) -> None:
        with self._lock:
            if (number := self._numbers.get(path)) is not None:
                self._add({"op": "cut", "of": number, "to": to})

    def moved(self, path: str, to: str) -> None:
        with self._lock:
            number = self._numbers.pop(path, None)
            if number is None:
                return
            self._numbers[to] = number
            source, target = os.path.split(path), os.path.split(to)
            places = {"in": self._numbers[source[0]], "name": source[1]}
            self._add({"op": "move", "of": number, **places, "to": self._numbers[target[0]], "as": target[1]})

    def dropped(self, path: str) -> None:
        with self._lock:
            if self._numbers.pop(path, None) is not None:
                folder, name = os.path.split(path)
                self._add({"op": "drop", "in": self._numbers[folder], "name": name})

    def synced(self, path: str, before: int) -> None:
        with self._lock:
            if (number := self._numbers.get(path)) is not None:
                self._add({"op": "sync", "of": number, "before": before})

    def _find(self, path: str) -> None:
        """Note what is there already, as durable."""
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            self._name("found", path, is_directory=True)
            for name in sorted(os.listdir(path)):
                self._find(os.path.join(path, name))
        elif stat.S_ISREG(mode):
            with open(path, "rb") as file:
                self._name("found", path, is_directory=False, data=file.read())

    def _name(self, op: str, path: str, is_directory: bool, data: bytes = b"") -> None:
        folder, name = os.path.split(path)
        self._last += 1
        self._numbers[path] = self._last
        entry = {"op": op, "of": self._last, "in": self._numbers[folder], "name": name, "directory": is_directory}
        self._add(entry, data)

    def _add(self, entry: dict[str, Any], data: bytes = b"") -> None:
        self.length += 1
        line = json.dumps({**entry, "size": len(data)}).encode() + b"\n"
        written = _writev(self._fd, [line, data])
        assert written == len(line) + len(data), "the journal of the power cut is short of room"
