"""
Do the books balance? Looks at a state directory, with or without an agent at work in it; changes nothing.

    head - start = ledger + queued        for every cursor; queued is counted from the segments
    named in the head mark = there        for every cursor
    dead in the books = dead letters      for every sink: in files, on their way, dropped or replayed

A running agent moves things while they are read: what does not balance is looked at again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agent.spool import dead, inventory, recovery
from agent.spool.cursor import Kept
from agent.spool.ledger import Ledger, State
from agent.spool.lines import Letter, parsed
from agent.spool.recovery import FoundLane
from agent.spool.state import check_format

LOOKS = 5
_PAUSE_SECONDS = 0.3

Stretch = tuple[int, int]  # from, to


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not balance, and whose it is ("" where that is nobody's alone)."""

    sink: str
    lane: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.lane, self.sink, self.text) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorReport:
    """One cursor's books."""

    sink: str
    lane: str
    start: int
    position: int
    head: int
    queued: int  # records from the position on, as counted in the segments
    planned: int  # batches with a name
    ledger: Ledger
    end: int | None  # a former lane: it drains up to here
    retired_ms: int | None


@dataclass(slots=True)
class Report:
    """What was found in a state directory."""

    directory: Path
    instance: str = ""
    cursors: list[CursorReport] = field(default_factory=list)
    dead_letters: dict[str, int] = field(default_factory=dict)  # by sink: in files and on their way
    dead_dropped: dict[str, int] = field(default_factory=dict)
    dead_replayed: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return not self.findings


@dataclass(slots=True)
class _Counted:
    """A lane's segments, read through."""

    stretches: list[Stretch] = field(default_factory=list)  # whole records, adjoining ones as one
    end: int = 0

    def between(self, start: int, end: int) -> int:
        return sum(max(0, min(end, stop) - max(start, first)) for first, stop in self.stretches)

    def missing(self, start: int, end: int) -> list[Stretch]:
        out, at = [], start
        for first, stop in [*self.stretches, (end, end)]:
            if first > at and at < end:
                out.append((at, min(first, end)))
            at = max(at, stop)
        return out


def audit(directory: Path, *, version: str = "") -> Report:
    """
    Look at a state directory. Blocks; reads every segment.

    Raises StateTooNew for one of a newer format, FileNotFoundError where there is none.
    """
    check_format(directory, version)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such state directory")
    report = _look(directory)
    for _ in range(LOOKS - 1):
        if report.balanced:
            break
        time.sleep(_PAUSE_SECONDS)
        report = _look(directory)
    return report


def _look(directory: Path) -> Report:
    report = Report(directory)
    try:
        report.instance = (directory / "instance").read_text(errors="replace").strip()
    except OSError:
        pass

    def trouble(path: Path, text: str, aside: bool) -> None:
        del aside  # nothing is changed here
        sink = recovery.name_of(path) if path.suffix == ".cursor" else ""
        report.findings.append(Finding(sink, path.parent.name, f"{path.name}: {text}"))

    lanes = recovery.lanes(directory / "lanes", trouble)
    # In this order beside an agent at work: what is booked as dead by now is found among the letters next.
    _dead(directory, lanes, report)
    for lane in lanes.values():
        head = lane.proven
        counted = _count(lane)
        _registry(lane, report)
        # Read again: whatever was deleted while we counted lies below where the cursors are now.
        for sink, (mark, known) in lane.cursors.items():
            if known is None:
                continue  # a finding already
            try:
                _, cursor = recovery.read_cursor(mark.path, lambda *_: None)
            except FileNotFoundError:
                continue  # the registry says whether it may go
            if cursor is not None:
                _balance(sink, cursor, lane, max(head, counted.end), counted, report)
    return report


def _count(lane: FoundLane) -> _Counted:
    out = _Counted()
    for place, segment in enumerate(lane.segments):
        limit = lane.segments[place + 1].base if place + 1 < len(lane.segments) else None
        try:
            for header, text in recovery.frames(segment):
                if limit is not None and header.base >= limit:
                    break
                if text is None or header.end <= out.end:
                    continue
                if out.stretches and out.stretches[-1][1] == header.base:
                    out.stretches[-1] = (out.stretches[-1][0], header.end)
                else:
                    out.stretches.append((header.base, header.end))
                out.end = header.end
        except FileNotFoundError:
            continue  # settled and deleted while we looked, or gone: the counting shows which
    return out


def _registry(lane: FoundLane, report: Report) -> None:
    for sink, (_, position) in lane.head.cursors.items():
        if lane.cursors.get(sink, (None, None))[1] is None:
            text = f"the cursor is gone; the head mark knew it at {position}"
            report.findings.append(Finding(sink, lane.name, text))


def _balance(sink: str, cursor: Kept, lane: FoundLane, proven: int, counted: _Counted, report: Report) -> None:
    head = max(proven, cursor.position) if cursor.end is None else cursor.end
    queued = counted.between(cursor.position, head)
    report.cursors.append(
        CursorReport(
            sink=sink,
            lane=lane.name,
            start=cursor.start,
            position=cursor.position,
            head=head,
            queued=queued,
            planned=sum(not plan.state.settled for plan in cursor.plans),
            ledger=cursor.ledger,
            end=cursor.end,
            retired_ms=cursor.retired_ms,
        )
    )
    # What a cursor has come across already stands among its plans or in its ledger.
    known = [(plan.first, plan.end) for plan in cursor.plans if plan.state in (State.DAMAGED, State.EVICTED)]
    for first, end in _without(counted.missing(cursor.position, head), known):
        text = f"{end - first} records from {first} on are gone that are neither settled nor booked"
        report.findings.append(Finding(sink, lane.name, text))
    there = [segment.base for segment in lane.segments if segment.path.exists()]
    kept_from = max(cursor.start, min(there, default=cursor.position))
    vanished = sum(end - first for first, end in counted.missing(kept_from, min(cursor.position, proven)))
    if vanished > cursor.ledger.damaged + cursor.ledger.evicted:
        text = f"{vanished} settled records are gone from within the log, {cursor.ledger.damaged} booked as damaged"
        report.findings.append(Finding(sink, lane.name, text))


def _without(stretches: Iterable[Stretch], known: Iterable[Stretch]) -> list[Stretch]:
    left = list(stretches)
    for low, high in known:
        left = [
            piece
            for first, end in left
            for piece in ((first, min(end, low)), (max(first, high), end))
            if piece[0] < piece[1]
        ]
    return left


def _dead(directory: Path, lanes: dict[str, FoundLane], report: Report) -> None:
    place = directory / "dead-letters"
    state = inventory.look(place)
    for text in state.gaps:
        report.findings.append(Finding("", dead.LANE, text))
    distinct: dict[str, set[str]] = {}
    total: Counter[str] = Counter()
    lane = lanes.get(dead.LANE)
    waiting = [] if lane is None else [letter for _, letter in letters_in(lane.directory, state.at)]
    for letter in [*state.letters, *waiting]:
        sink = str(letter.get("sink"))
        total[sink] += 1
        if letter.get("id") is not None:
            distinct.setdefault(sink, set()).add(str(letter["id"]))
    report.dead_letters = dict(total)
    report.dead_dropped = dict(state.books.dropped)
    report.dead_replayed = dict(state.books.replayed)
    booked: Counter[str] = Counter()
    names: dict[str, set[str]] = {}
    for one in lanes.values():
        for sink, (_, cursor) in one.cursors.items():
            if cursor is not None:
                names.setdefault(sink, {sink}).update(cursor.names)
                booked[sink] += cursor.ledger.dead + cursor.inherited_dead
                booked[sink] += sum(plan.count for plan in cursor.plans if plan.state is State.DEAD)
    for sink, count in booked.items():
        there = sum(
            len(distinct.get(name, ())) + state.books.dropped[name] + state.books.replayed[name] for name in names[sink]
        )
        if there < count:
            text = f"{count - there} of {count} dead letters are gone"
            report.findings.append(Finding(sink, dead.LANE, text))


def letters_in(directory: Path, at: int) -> list[tuple[int, Letter]]:
    """Letters in the dead lane that have not come to their files: from that index on."""
    out: list[tuple[int, Letter]] = []
    for segment in recovery.lane(directory, lambda *_: None).segments:
        try:
            for header, text in recovery.frames(segment):
                if text is None or header.end <= at:
                    continue
                for index, letter in enumerate(recovery.records(header, text), header.base):
                    value = parsed(letter)
                    if index >= at and value is not None:
                        out.append((index, value))
        except FileNotFoundError:
            continue
    return out
