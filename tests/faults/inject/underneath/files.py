"""The functions of `os` that change files, and `open` for writing."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from typing import Any

from .journal import Journal
from .rules import Control, under

_original = {
    name: getattr(os, name)
    for name in (
        "open", "write", "writev", "pwrite", "pwritev", "fsync", "fdatasync", "ftruncate", "truncate",
        "rename", "replace", "unlink", "remove", "mkdir", "rmdir",
    )
}  # fmt: skip
_open_file = io.open


def install(control: Control, journal: Journal | None) -> None:
    """Put them in place."""
    layer = _Files(control, journal)
    for name, original in _original.items():
        ours = getattr(layer, name)
        setattr(os, name, ours)
        for known in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            if original in known:
                known.add(ours)
    io.open = builtins.open = layer.open_file


def _path_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _full(path: Any) -> str:
    return _path_of(path) if isinstance(path, int) else os.path.abspath(os.fsdecode(path))


def _bytes(data: Any) -> bytes:
    return data if isinstance(data, bytes) else bytes(memoryview(data).cast("B"))


class _Files:
    """One method a function, under its name."""

    def __init__(self, control: Control, journal: Journal | None) -> None:
        self._control = control
        self._journal = journal

    def _quiet(self, call: str) -> bool:
        return self._journal is None and not self._control.concerns(call)

    # Writing.

    def write(self, fd: int, data: Any) -> int:
        if self._quiet("write"):
            return int(_original["write"](fd, data))
        return self._put("write", fd, _bytes(data), None)

    def writev(self, fd: int, buffers: Any) -> int:
        if self._quiet("writev"):
            return int(_original["writev"](fd, buffers))
        return self._put("writev", fd, b"".join(map(_bytes, buffers)), None)

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        if self._quiet("pwrite"):
            return int(_original["pwrite"](fd, data, offset))
        return self._put("pwrite", fd, _bytes(data), offset)

    def pwritev(self, fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if self._quiet("pwritev"):
            return int(_original["pwritev"](fd, buffers, offset, flags))
        return self._put("pwritev", fd, b"".join(map(_bytes, buffers)), offset)

    def _put(self, call: str, fd: int, data: bytes, offset: int | None) -> int:
        path = _path_of(fd)

        def some(what: bytes) -> int:
            if offset is None:
                count, at = int(_original["write"](fd, what)), -1
            else:
                count, at = int(_original["pwrite"](fd, what, offset)), offset
            if self._journal is not None and self._journal.covers(path):
                self._journal.wrote(path, os.lseek(fd, 0, os.SEEK_CUR) - count if at < 0 else at, what[:count])
            return count

        rule = self._control.strike(call, path, data)
        return under(rule, path, lambda: some(data), lambda: some(self._control.part(data)))

    # Making durable.

    def fsync(self, fd: Any) -> None:
        self._sync("fsync", fd)

    def fdatasync(self, fd: Any) -> None:
        self._sync("fdatasync", fd)

    def _sync(self, call: str, fd: Any) -> None:
        if self._quiet(call):
            _original[call](fd)
            return
        path = _path_of(fd if isinstance(fd, int) else fd.fileno())

        def perform() -> None:
            before = 0 if self._journal is None else self._journal.length
            _original[call](fd)
            if self._journal is not None:
                self._journal.synced(path, before)

        under(self._control.strike(call, path), path, perform)

    # Names.

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if self._quiet("open"):
            return int(_original["open"](path, flags, mode, dir_fd=dir_fd))
        place = _full(path)

        def perform() -> int:
            existed = os.path.lexists(place)
            fd = int(_original["open"](path, flags, mode, dir_fd=dir_fd))
            if self._journal is not None and dir_fd is None:
                if flags & os.O_CREAT and not existed:
                    self._journal.made(place, is_directory=False)
                elif flags & os.O_TRUNC:
                    self._journal.cut(place, 0)
            return fd

        return under(self._control.strike("open", place), place, perform)

    def ftruncate(self, fd: int, length: int) -> None:
        self._named("ftruncate", (fd, length), lambda journal, path: journal.cut(path, length))

    def truncate(self, path: Any, length: int) -> None:
        self._named("truncate", (path, length), lambda journal, path: journal.cut(path, length))

    def rename(self, src: Any, dst: Any, **options: Any) -> None:
        self._named("rename", (src, dst), lambda journal, path: journal.moved(path, _full(dst)), options)

    def replace(self, src: Any, dst: Any, **options: Any) -> None:
        self._named("replace", (src, dst), lambda journal, path: journal.moved(path, _full(dst)), options)

    def unlink(self, path: Any, **options: Any) -> None:
        self._named("unlink", (path,), lambda journal, path: journal.dropped(path), options)

    def remove(self, path: Any, **options: Any) -> None:
        self._named("remove", (path,), lambda journal, path: journal.dropped(path), options)

    def rmdir(self, path: Any, **options: Any) -> None:
        self._named("rmdir", (path,), lambda journal, path: journal.dropped(path), options)

    def mkdir(self, path: Any, mode: int = 0o777, **options: Any) -> None:
        self._named("mkdir", (path, mode), lambda journal, path: journal.made(path, is_directory=True), options)

    def _named(
        self, call: str, arguments: tuple[Any, ...], note: Callable[[Journal, str], None], options: Any = None
    ) -> None:
        if self._quiet(call):
            _original[call](*arguments, **(options or {}))
            return
        place = _full(arguments[0])

        def perform() -> None:
            _original[call](*arguments, **(options or {}))
            if self._journal is not None:
                note(self._journal, place)

        under(self._control.strike(call, place), place, perform)

    # Files of Python's own, whose writes would go past all of this.

    def open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int) or opener is not None:
            return _open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""), opener=lambda path, flags: os.open(path, flags, 0o666))
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline, line_buffering=buffering == 1)


class _Raw(io.FileIO):
    """A file whose writes take the way of all others."""

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)
