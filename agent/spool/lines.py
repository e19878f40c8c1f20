"""
What a line in the files of dead letters says: a letter, one that was taken out, or a stretch of those.

    {"seq":5,"at":7,"id":...     a letter
    {"xeq":5,"at":7,"id":...     the same, replayed: one byte is written over, which no crash does by halves
    {"deq":5,"at":7,"id":...     the same, dropped
    {"gone":[5,17],"at":19,"replayed":{"lake":9},"dropped":{"lake":4}}     what a rewrite makes of neighbours

Each line says by itself which numbers it stands for and what became of them, so that the numbers are
counted without a gap whatever is taken out, and no second file has to agree with this one. The letters
x and d differ from s by three bits and more: one that flips makes a damaged line, not another fate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

Fate = Literal["replayed", "dropped"]
Letter = dict[str, Any]

MARK_AT = 2  # where the byte stands that is written over
MARKS: Final[Mapping[Fate, bytes]] = {"replayed": b"x", "dropped": b"d"}
_FATES: Final[Mapping[str, Fate]] = {"xeq": "replayed", "deq": "dropped"}


@dataclass(slots=True)
class Books:
    """How many letters of each sink were taken out, by what became of them."""

    replayed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def of(self, fate: Fate) -> Counter[str]:
        """The counts of one fate, by sink."""
        return self.replayed if fate == "replayed" else self.dropped

    @classmethod
    def sum(cls, *some: Books) -> Books:
        """All of these together."""
        out = cls()
        for books in some:
            out.add(books)
        return out

    def add(self, other: Books) -> None:
        """Count what the other has, too."""
        self.replayed.update(other.replayed)
        self.dropped.update(other.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line that is whole."""

    first: int  # sequence numbers
    last: int
    at: int  # index in the dead lane, of the last of them
    letter: Letter | None = None  # as written; None for a stretch
    fate: Fate | None = None  # of a letter that was taken out
    gone: Books | None = None  # of a stretch

    @property
    def kept(self) -> Letter | None:
        """The letter, where it is still there."""
        return self.letter if self.fate is None else None

    def taken_out(self) -> Books:
        """What was taken out here."""
        if self.gone is not None:
            return self.gone
        out = Books()
        if self.letter is not None and self.fate is not None:
            out.of(self.fate)[sink_of(self.letter)] += 1
        return out


def read(line: bytes) -> Line | None:
    """A line; None where it is damaged."""
    value = parsed(line)
    if value is None or not isinstance(at := value.get("at"), int):
        return None
    match next(iter(value)), next(iter(value.values())):
        case "seq", int(number):
            return Line(first=number, last=number, at=at, letter=value)
        case ("xeq" | "deq") as key, int(number):
            return Line(first=number, last=number, at=at, letter=value, fate=_FATES[key])
        case "gone", [int(first), int(last)]:
            try:
                gone = Books(by_sink(value["replayed"]), by_sink(value["dropped"]))
            except (KeyError, TypeError):
                return None
            return Line(first=first, last=last, at=at, gone=gone)
    return None


def parsed(line: bytes) -> Letter | None:
    """A letter as it stands in the dead lane; None where it is none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def by_sink(value: object) -> Counter[str]:
    """Counts by sink, as they stand in a file. Raises TypeError where anything else stands there."""
    if not isinstance(value, dict) or not all(isinstance(count, int) for count in value.values()):
        raise TypeError("no counts by sink")
    return Counter(value)


def sink_of(letter: Letter) -> str:
    """Who refused it."""
    return str(letter.get("sink"))


def identity(letter: Letter) -> str:
    """The record's id, or that of the letter where it never became a record."""
    return str(letter.get("id") or f"at-{letter.get('at')}")


def rewritten(data: bytes) -> bytes:
    """The same lines with neighbours that were taken out joined; what is damaged stays as it is."""
    out: list[bytes] = []
    stretch: Line | None = None
    for text in data.splitlines(keepends=True):
        line = read(text)
        if line is not None and line.kept is None:
            if stretch is not None and stretch.last + 1 == line.first:
                stretch = _joined(stretch, line)
                continue
            out += _written(stretch)
            stretch = line if line.gone is not None else _joined(line)
            continue
        out += _written(stretch)
        stretch = None
        out.append(text)
    return b"".join([*out, *_written(stretch)])


def emptied(data: Iterable[bytes], first: int, end: int) -> Books | None:
    """What was taken out of a file that stands for these numbers, where that is every one of them; else None."""
    books = Books()
    expected = first
    for text in data:
        line = read(text)
        if line is None or line.kept is not None or line.first != expected:
            return None
        expected = line.last + 1
        books.add(line.taken_out())
    return books if expected == end else None


def _joined(*lines: Line) -> Line:
    books = Books.sum(*(line.taken_out() for line in lines))
    return Line(first=lines[0].first, last=lines[-1].last, at=lines[-1].at, gone=books)


def _written(stretch: Line | None) -> Iterator[bytes]:
    if stretch is not None and stretch.gone is not None:
        numbers, gone = [stretch.first, stretch.last], stretch.gone
        value = {"gone": numbers, "at": stretch.at, "replayed": dict(gone.replayed), "dropped": dict(gone.dropped)}
        yield orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
