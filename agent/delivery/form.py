"""
From a run of records to the batches it makes: pure, so that the same records always give the same batches.

    run ─▸ restamp (a clock that was wrong) ─▸ encode ─▸ too many bytes: halves
                                                    └─▸ Unfit: what stands around, and the unfit by themselves
                                             ─▸ crc32 ─▸ name ─▸ pack
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.errors import Unfit, kind_of_bug
from agent.ports import Sink
from agent.record import Run, batch_id
from agent.spool import Gap
from agent.spool.checksum import crc32

UNNAMED = 0  # the crc of a stretch that gets its name when its turn comes; nothing was sent under it

# How far a record's own time may lie from its frame's and still be the agent's stamp: what a device
# says itself is not ours to correct.
STAMP_SLACK_MS = 60_000

_STAMP = re.compile(rb'\{"ts":(\d+)')


class BrokenSinkError(Exception):
    """The sink's own code raised over records, before anything was sent. `bug` is what it raised."""

    def __init__(self, bug: Exception) -> None:
        super().__init__(kind_of_bug(bug))
        self.bug = bug


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A stretch of records as it is to be planned."""

    segment: int
    first: int
    count: int
    crc: int
    oldest: int  # when its records were taken in, in milliseconds on the lane's steady clock
    newest: int
    ageless: bool = False  # those times say nothing about their age
    distance: int = 0  # of the wall clock from the steady one, by which the records' times are right
    size: int = 0  # bytes of its data
    body: bytes | None = None  # packed; None: to be made when it is sent
    unfit: Mapping[int, str] | None = None  # the sink can never send these: index in the lane -> reason
    bug: Exception | None = None  # the sink broke over these

    @property
    def end(self) -> int:
        """The index after its last record."""
        return self.first + self.count


def draft(sink: Sink, run: Run, limit: float) -> list[Draft]:
    """
    The batches that a run makes, in order, covering all of it; data of several records stays within `limit`.

    A sink that breaks over some records costs those alone. Where it breaks over all of them, the run
    stays whole: there is nothing to find by taking it apart.
    """
    drafts = list(_drafts(sink, restamp(run), limit, whole=True))
    broken = [each for each in drafts if each.bug is not None]
    if len(drafts) > 1 and len(broken) == len(drafts):
        return [_broken(run, broken[0].bug)]
    return drafts


def _drafts(sink: Sink, run: Run, limit: float, *, whole: bool) -> Iterator[Draft]:
    try:
        data = sink.encode(run)
        if len(data) > limit and run.count > 1:
            for start, stop in halves(run.count):
                yield from _drafts(sink, run.slice(start, stop), limit, whole=False)
            return
        crc = crc32(data)
        # A part of a run is packed when it is sent, out of a run of its own: only then does the body
        # of the first try equal that of a try after a restart.
        body = sink.pack(batch_id(run.segment_id, run.first, run.count, crc), run.newest_ms, data) if whole else None
    except Unfit as unfit:
        for start, stop in around(run.count, unfit.reasons):
            part = run.slice(start, stop)
            reasons = {run.first + i: unfit.reasons[i] for i in range(start, stop) if i in unfit.reasons}
            if reasons:
                yield _plain(part, crc32(part.body), unfit=reasons)
            else:
                yield from _drafts(sink, part, limit, whole=False)
    except Exception as bug:  # noqa: BLE001 - kept in the draft: delivery reports it and keeps the data
        if run.count == 1:
            yield _broken(run, bug)
        else:
            for start, stop in halves(run.count):
                yield from _drafts(sink, run.slice(start, stop), limit, whole=False)
    else:
        yield _plain(run, crc, size=len(data), body=body)


def _plain(
    run: Run, crc: int, *, size: int = 0, body: bytes | None = None, unfit: Mapping[int, str] | None = None
) -> Draft:
    return Draft(
        segment=run.segment_id,
        first=run.first,
        count=run.count,
        crc=crc,
        oldest=run.oldest_ms - run.distance_ms,
        newest=run.newest_ms - run.distance_ms,
        ageless=run.ageless,
        distance=run.distance_ms,
        size=size,
        body=body,
        unfit=unfit,
    )


def _broken(run: Run, bug: Exception | None) -> Draft:
    return Draft(
        segment=run.segment_id,
        first=run.first,
        count=run.count,
        crc=crc32(run.body),
        oldest=run.oldest_ms - run.distance_ms,
        newest=run.newest_ms - run.distance_ms,
        ageless=run.ageless,
        distance=run.distance_ms,
        bug=bug,
    )


def halves(count: int) -> list[tuple[int, int]]:
    """The two halves of `count` records, as (start, stop); the left one is the larger."""
    middle = (count + 1) // 2
    return [(0, middle), (middle, count)]


def around(count: int, named: Collection[int], *, alone: bool = False) -> list[tuple[int, int]]:
    """
    The stretches of named and of other positions among `count`, in order, as (start, stop).

    With `alone` each named position is a stretch by itself. Raises ValueError where no position named
    is one of these records.
    """
    if not any(0 <= position < count for position in named):
        raise ValueError(f"positions {sorted(named)[:5]} are not among {count} records")
    out: list[tuple[int, int]] = []
    start = 0
    for position in range(1, count + 1):
        if position < count:
            same = (position in named) == (position - 1 in named)
            if same and not (alone and position in named):
                continue
        out.append((start, position))
        start = position
    return out


def marked(part: Draft | Gap, unfit: Mapping[int, str]) -> Draft | Gap:
    """The part, with the reasons (index in the lane -> reason) why its sink can never send what is in it."""
    mine = {index: reason for index, reason in unfit.items() if part.first <= index < part.first + part.count}
    return replace(part, unfit={**(part.unfit or {}), **mine}) if mine and isinstance(part, Draft) else part


def together(segment: int, parts: Sequence[Draft | Gap]) -> Draft:
    """Adjoining parts for which there are no plans yet, as one without a name."""
    drafts = [part for part in parts if isinstance(part, Draft)]
    return Draft(
        segment=segment,
        first=parts[0].first,
        count=sum(part.count for part in parts),
        crc=UNNAMED,
        oldest=min((part.oldest for part in drafts), default=0),
        newest=max((part.newest for part in drafts), default=0),
        ageless=not drafts or any(part.ageless for part in drafts),
    )


def restamp(run: Run) -> Run:
    """The run with the times that a wrong clock gave its records put right."""
    offset = run.clock_offset_ms
    if not offset:
        return run
    earliest = run.oldest_ms - offset - STAMP_SLACK_MS
    latest = run.newest_ms - offset + STAMP_SLACK_MS
    records = [_restamped(record, offset, earliest, latest) for record in run.records()]
    return Run(
        run.segment_id,
        run.first,
        b",".join(records),
        array(run.lengths.typecode, map(len, records)),
        run.oldest_ms,
        run.newest_ms,
        ageless=run.ageless,
        distance_ms=run.distance_ms,
    )


def _restamped(record: bytes, offset: int, earliest: int, latest: int) -> bytes:
    stamp = _STAMP.match(record)
    if stamp is None or not earliest <= int(stamp[1]) <= latest:
        return record
    return b'{"ts":%d%b' % (int(stamp[1]) + offset, record[stamp.end() :])
