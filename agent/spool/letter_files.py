"""The files of dead letters, one by one: read, a letter in them taken out, written anew, added up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent.spool.lines import MARK_AT, MARKS, Books, Fate, Letter, parsed, read, rewritten, sink_of
from agent.spool.mark import sync_directory

READ_BYTES = 256 << 10  # of a file at once; parsed they take a few times that


class Place(NamedTuple):
    """Where to go on reading."""

    file: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A letter in its file."""

    file: str
    offset: int
    seq: int
    letter: Letter


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some letters, all of one file."""

    letters: list[Standing]
    following: Place
    untidy: bool  # there are some that were taken out and still take their room


def files(directory: Path) -> list[Path]:
    """The files of letters, oldest first."""
    return sorted(path for path in directory.glob("*.ndjson") if path.stem.isdigit())


def path_of(directory: Path, name: str) -> Path:
    """The file of that name, which is the first number in it."""
    return directory / f"{name}.ndjson"


def some(directory: Path, first: int, place: Place) -> Chunk | None:
    """Letters that are kept from `place` on, in files from number `first` on; None: there are no more."""
    for path in files(directory):
        if path.stem < place.file or int(path.stem) < first:
            continue
        start = at = place.offset if path.stem == place.file else 0
        found: list[Standing] = []
        untidy = False
        with path.open("rb") as file:
            file.seek(start)
            while at - start < READ_BYTES and (text := file.readline()).endswith(b"\n"):
                line = read(text)
                if line is not None and line.kept is not None:
                    found.append(Standing(path.stem, at, line.first, line.kept))
                untidy = untidy or (line is not None and line.fate is not None)
                at += len(text)
        if at > start:
            return Chunk(found, Place(path.stem, at), untidy)
    return None


def mark(path: Path, letters: Iterable[Standing], fate: Fate, *, sync: bool) -> None:
    """Take letters out where they stand; durable on return when `sync`. Raises OSError where one is no longer there."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        before = os.fstat(fd)
        for one in letters:
            head = b'{"seq":%d,' % one.seq
            if os.pread(fd, len(head), one.offset) != head:
                raise OSError(f"{path}: letter {one.seq} no longer stands where it was read")
            os.pwrite(fd, MARKS[fate], one.offset + MARK_AT)
        _keep_age(fd, before)
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)


def shorten(path: Path, *, sync: bool) -> int | None:
    """Write a file anew without what was taken out; its bytes then, or None where there was nothing to gain."""
    former = path.read_bytes()
    data = rewritten(former)
    if len(data) >= len(former):
        return None
    before = path.stat()
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(f"{new}: short write")
        _keep_age(fd, before)
        os.fsync(fd)  # whatever the setting: the name must not stand for less than it stood for
    except OSError:
        new.unlink()
        raise
    finally:
        os.close(fd)
    new.rename(path)
    if sync:
        sync_directory(path.parent)
    return len(data)


def _keep_age(fd: int, before: os.stat_result) -> None:
    os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))  # letters are as old as the last of their file


def books_without(path: Path) -> Books:
    """What is to be booked when this file goes: the letters that are still in it count as dropped."""
    books = Books()
    for text in path.read_bytes().splitlines():
        line = read(text)
        if line is None or line.kept is not None:
            books.dropped[sink_of(parsed(text) or {})] += 1
        else:
            books.add(line.taken_out())
    return books
