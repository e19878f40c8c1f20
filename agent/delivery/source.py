"""
Where a sink's records come from: its cursors in turn, past what is too old or gone.

Reading and what is made of it happen in one visit to a thread: the way there and back costs more than
the crc of a batch. Where nothing has to be read from the disk and the last batch was made in next to no time,
that is more than all of it costs, and the event loop does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agent.delivery.form import Draft, restamp
from agent.delivery.hands import Hands
from agent.record import Run
from agent.spool import Cursor, Gap, Lane, NotYet, State, Stretch

EVERY_BYTE = 1 << 40  # no limit: a batch that has its name is read whole, whatever its size

Drafting = Callable[[Run], list[Draft]]


async def fetch(
    cursor: Cursor,
    records: int,
    size: int,
    *,
    max_age: float,
    stretch: Stretch | None,
    booked: Callable[[Gap], None],
    drafting: Drafting,
    hands: Hands,
) -> list[Draft] | NotYet:
    """
    Drafts of the next records that no plan covers; none where there are no records.

    NotYet where there are some and `stretch` holds them back. What lies before them and is gone or older
    than `max_age` seconds is booked, and told to `booked`. Expiry takes whole frames: `read_now` does not
    mix those past the age with others.
    """
    while True:
        at = cursor.planned_end
        most = records if cursor.end is None else min(records, cursor.end - at)
        if most <= 0:
            return []
        job = partial(_read, cursor.lane, at, most, size, max_age, stretch, drafting)
        got = await hands.make(job, min(most, max(1, cursor.lane.head - at)))
        if cursor.planned_end != at:
            continue  # evicted while we read
        if not isinstance(got, Gap):
            return got
        gap = got if cursor.end is None else replace(got, count=min(got.count, cursor.end - at))
        cursor.book(gap.count, gap.state)
        booked(gap)


def _read(
    lane: Lane,
    at: int,
    records: int,
    size: int,
    max_age: float,
    stretch: Stretch | None,
    drafting: Drafting,
    *,
    at_hand: bool = False,
) -> list[Draft] | Gap | NotYet:
    aged_before = lane.now() - int(max_age * 1000)
    got = lane.read_now(at, records, size, aged_before, stretch, at_hand=at_hand)
    match got:
        case None:
            return []
        # By the clock that nobody sets: the other one may have been, since `aged_before`.
        case Run(ageless=False) if lane.seconds_since(got.newest_ms - got.distance_ms) > max_age:
            return Gap(at, got.count, State.EXPIRED, got.oldest_ms, got.newest_ms)
        case Run():
            return drafting(got)
        case _:
            return got


def reread(lane: Lane, first: int, count: int) -> list[Run | Gap]:
    """Those records as they are now: one run as a rule; more pieces where some of them are gone. Blocks."""
    found: list[Run | Gap] = []
    end = first + count
    while first < end:
        got = lane.read_now(first, end - first, EVERY_BYTE)
        if got is None:
            # Planned, so it was below the head once: what is not there now was lost.
            got = Gap(first, end - first, State.DAMAGED)
        elif isinstance(got, Gap):
            got = Gap(first, min(got.count, end - first), got.state)
        else:
            got = restamp(got)
            if found and isinstance(last := found[-1], Run) and last.segment_id == got.segment_id:
                # One batch as it was planned, though the clocks tell its frames apart now.
                found[-1] = _joined(last, got)
                first = got.end
                continue
        found.append(got)
        first += got.count
    return found


def redraft(lane: Lane, bounds: list[tuple[int, int]], drafting: Drafting) -> list[Draft | Gap]:
    """Drafts of these stretches, (first, count) each, as the records are now. Blocks."""
    return [
        part
        for first, count in bounds
        for found in reread(lane, first, count)
        for part in ([found] if isinstance(found, Gap) else drafting(found))
    ]


def _joined(left: Run, right: Run) -> Run:
    step = right.distance_ms - left.distance_ms  # the clock was set between the two reads
    return Run(
        left.segment_id,
        left.first,
        left.body + b"," + right.body,
        left.lengths + right.lengths,
        min(left.oldest_ms + step, right.oldest_ms),
        max(left.newest_ms + step, right.newest_ms),
        ageless=left.ageless or right.ageless,
        distance_ms=right.distance_ms,
    )
