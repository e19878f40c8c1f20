"""What stands in the directory of dead letters, for whoever only looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agent.spool.letter_files import files
from agent.spool.lines import Books, Letter, by_sink, read
from agent.spool.mark import Mark

_LOOKS = 5


@dataclass(slots=True)
class Found:
    """Everything that is there, and what is not."""

    letters: list[Letter] = field(default_factory=list)
    books: Books = field(default_factory=Books)  # of those that were taken out
    at: int = 0  # the dead lane is done up to here
    gaps: list[str] = field(default_factory=list)


def look(directory: Path) -> Found:
    """Read everything and change nothing."""
    for _ in range(_LOOKS - 1):
        try:
            return _look(directory)
        except FileNotFoundError:
            continue  # an agent at work has deleted the oldest file meanwhile
    return _look(directory)


def counted(value: Mapping[str, Any]) -> Books:
    """What `counts` says was taken out of files that are gone. Raises LookupError and TypeError where it cannot be."""
    return Books(by_sink(value.get("replayed", {})), by_sink(value["dropped"]))


class Counts(NamedTuple):
    """What `counts` says."""

    first: int  # the numbers that are to be there: from this one
    next: int  # up to, not including, this one
    at: int  # the dead lane is done up to here
    books: Books  # what was taken out of files that are gone


def counts_of(mark: Mark) -> Counts | None:
    """What the mark of that name says; None where that cannot be. Raises FileNotFoundError."""
    if not mark.load() or mark.value is None:
        return None
    value = mark.value
    try:
        return Counts(int(value["first"]), int(value["next"]), int(value["at"]), counted(value))
    except (LookupError, TypeError, ValueError):
        return None


def _look(directory: Path) -> Found:
    out = Found()
    first, following = 0, 0
    mark = Mark(directory / "counts")
    try:
        known = counts_of(mark)
        if known is not None:
            first, following, out.at, out.books = known
        else:
            out.gaps.append("counts: damaged")
    except FileNotFoundError:
        pass
    expected = first
    paths = files(directory)
    for path in paths:
        damaged = 0
        data = path.read_bytes()
        if path == paths[-1]:
            # A last line without its end is being written or was cut short: the dead lane has it until it is whole.
            data = data[: data.rfind(b"\n") + 1]
        for text in data.splitlines():
            line = read(text)
            if line is None:
                damaged += 1
                continue
            if line.first < first:
                continue
            if line.first > expected:
                out.gaps.append(f"{path.name}: letters {expected} to {line.first - 1} are gone")
            expected = line.last + 1
            out.at = max(out.at, line.at + 1)
            out.books.add(line.taken_out())
            if line.kept is not None:
                out.letters.append(line.kept)
        if damaged:
            out.gaps.append(f"{path.name}: damaged lines: {damaged}")
    if expected < following:
        out.gaps.append(f"letters {expected} to {following - 1} are gone")
    return out
