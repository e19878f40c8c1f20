"""What stands in the directory of dead letters, for whoever only looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.spool.letter_files import files
from agent.spool.lines import Books, Letter, read
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
    """What `counts` says was taken out of files that are gone."""
    return Books(Counter(value.get("replayed", {})), Counter(value["dropped"]))


def _look(directory: Path) -> Found:
    out = Found()
    first, following = 0, 0
    mark = Mark(directory / "counts")
    try:
        if mark.load() and mark.value is not None:
            first, following, out.at = int(mark.value["first"]), int(mark.value["next"]), int(mark.value["at"])
            out.books = counted(mark.value)
        else:
            out.gaps.append("counts: damaged")
    except FileNotFoundError:
        pass
    expected = first
    for path in files(directory):
        damaged = 0
        for text in path.read_bytes().splitlines():
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
