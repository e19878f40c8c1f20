"""Where a sink's records come from: its cursors in turn, past what is too old or gone."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.delivery.form import restamp
from agent.record import Run
from agent.spool import Cursor, Gap, State

EVERY_BYTE = 1 << 40  # no limit: a batch that has its name is read whole, whatever its size


async def fetch(
    cursor: Cursor, records: int, size: int, *, max_age: float | None, booked: Callable[[State, int], None]
) -> Run | None:
    """
    The next records that no plan covers; None where there are none.

    What lies before them and is gone or older than `max_age` seconds is booked, and told to `booked`.
    Expiry takes whole frames: `read` does not mix those past the age with others.
    """
    while True:
        at = cursor.planned_end
        most = records if cursor.end is None else min(records, cursor.end - at)
        if most <= 0:
            return None
        aged_before = 0 if max_age is None else int((time.time() - max_age) * 1000)
        got = await cursor.lane.read(at, most, size, aged_before=aged_before)
        if cursor.planned_end != at:
            continue  # evicted while we read
        if got is None:
            return None
        if isinstance(got, Gap):
            count, fate = got.count if cursor.end is None else min(got.count, cursor.end - at), got.state
        elif not got.ageless and got.newest_ms < aged_before:
            count, fate = got.count, State.EXPIRED
        else:
            return got
        cursor.book(count, fate)
        booked(fate, count)


async def reread(cursor: Cursor, first: int, count: int) -> list[Run | Gap]:
    """Those records as they are now: one run as a rule; more pieces where some of them are gone."""
    found: list[Run | Gap] = []
    end = first + count
    while first < end:
        got = await cursor.lane.read(first, end - first, EVERY_BYTE)
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


def _joined(left: Run, right: Run) -> Run:
    return Run(
        left.segment_id,
        left.first,
        left.body + b"," + right.body,
        left.lengths + right.lengths,
        min(left.oldest_ms, right.oldest_ms),
        max(left.newest_ms, right.newest_ms),
        ageless=left.ageless or right.ageless,
    )
