"""
A lane: one log of records, in segment files, read by any number of cursors.

    first                                          head
      ▼                                             ▼
      [ segment ][ segment ] (lost) [ segment, active ]

Readers look below `head` only: what lies below it is as durable as the setting promises. A segment ends
where the next one begins; whatever a failed write left behind that point is not part of the lane.
"""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_right
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import structlog

from agent.record import Run
from agent.spool.clock import Clock
from agent.spool.ledger import State
from agent.spool.reading import NotYet, Stretch, read_run
from agent.spool.segment import Segment
from agent.spool.tail import Tail

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that are not to be had, and why: evicted, damaged, or (as delivery finds) expired."""

    first: int
    count: int
    state: State
    oldest_ms: int = 0  # when they were taken in; 0 where they are gone, and nobody knows
    newest_ms: int = 0


class Lane:
    """One log. `head` moves on the event loop; segments come by the writer's thread and go by the keeper's."""

    def __init__(self, name: str, directory: Path, segments: list[Segment], head: int, clock: Clock) -> None:
        self.name = name
        self.directory = directory
        self.head = head  # the index after the last durable record
        # Replaced as a whole, under the lock; readers take the tuple that is there.
        self.segments: tuple[Segment, ...] = tuple(segments)
        self.evicted = 0  # everything below was given up for room, by this process
        self.seal = False  # asks the writer to begin a new segment, so that the active one may go
        self.active: Segment | None = None  # the one the writer appends to
        self.tail = Tail()
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        self._noted: list[tuple[int, int]] = []  # damage that was said: from, to
        self.pool: Executor | None = None

    @property
    def first(self) -> int:
        """The oldest index still on disk (`head` when nothing is)."""
        segments = self.segments
        return min(segments[0].base, self.head) if segments else self.head

    @property
    def bytes(self) -> int:
        """What its segments take on disk."""
        return sum(segment.size for segment in self.segments)

    def add(self, segment: Segment) -> None:
        """A new segment at the end."""
        with self._lock:
            self.segments = (*self.segments, segment)

    def drop(self, segment: Segment) -> None:
        """A segment is no longer part of the lane."""
        with self._lock:
            self.segments = tuple(one for one in self.segments if one is not segment)

    def end_of(self, segment: Segment) -> int:
        """The index after the last record that is read from it."""
        segments = self.segments
        place = segments.index(segment)
        following = segments[place + 1].base if place + 1 < len(segments) else self.head
        return following if segment.end < 0 else min(segment.end, following)

    def publish(self, head: int) -> None:
        """Everything below `head` is durable: wake whoever waits for it. On the loop."""
        self.head = max(self.head, head)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, at: int) -> None:
        """Return once there is a record at `at`."""
        while self.head <= at:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    async def read(self, at: int, records: int, size: int, *, aged_before: int = 0) -> Run | Gap | None:
        """
        Up to `records` records of together up to `size` bytes from `at` on; at least one, whatever its size.

        A run never spans a segment, and never mixes frames whose newest record arrived before the wall time
        `aged_before` (ms) with younger ones. A Gap stands for records that are gone; None: nothing there yet.
        """
        if at >= self.head:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, self.read_now, at, records, size, aged_before)

    @overload
    def read_now(self, at: int, records: int, size: int, aged_before: int = 0) -> Run | Gap | None: ...

    @overload
    def read_now(
        self, at: int, records: int, size: int, aged_before: int, stretch: Stretch | None, *, at_hand: bool = False
    ) -> Run | Gap | NotYet | None: ...

    def read_now(
        self,
        at: int,
        records: int,
        size: int,
        aged_before: int = 0,
        stretch: Stretch | None = None,
        *,
        at_hand: bool = False,
    ) -> Run | Gap | NotYet | None:
        """
        The same, blocking; within `stretch`, and NotYet where that holds back what there is.

        With `at_hand` it does not block, and raises NotAtHand where what is wanted is not in memory.
        """
        head, segments = self.head, self.segments
        if at >= head:
            return None
        place = bisect_right(segments, at, key=_base) - 1
        following = segments[place + 1].base if place + 1 < len(segments) else head
        limit = min(head, following)
        if place >= 0:
            try:
                found = read_run(
                    segments[place],
                    at,
                    limit,
                    records,
                    size,
                    self._clock,
                    self.tail,
                    aged_before,
                    stretch,
                    at_hand=at_hand,
                )
            except FileNotFoundError:
                found = limit  # evicted this moment, or deleted behind our back
            if isinstance(found, Run):
                return found
            if isinstance(found, NotYet):
                return found if limit == head else replace(found, grows=False)
            limit = min(found, limit)
        if at < self.evicted:
            return Gap(at, min(limit, self.evicted) - at, State.EVICTED)
        self._note(at, limit, segments[place] if place >= 0 else None)
        return Gap(at, limit - at, State.DAMAGED)

    def age(self, run: Run) -> float | None:
        """Seconds since the newest record of a run arrived; None where no clock can tell."""
        return None if run.ageless else (self._clock.now() - run.newest_ms) / 1000

    def now(self) -> int:
        """The wall clock, as the ages of records are reckoned by it, milliseconds since the epoch."""
        return self._clock.now()

    def distance(self) -> int:
        """Milliseconds of the wall clock from the steady one, which nobody sets; it changes where the former is set."""
        return self._clock.distance()

    def seconds_since(self, steady_ms: int) -> float:
        """How long ago that was, on the steady clock: a time of a run without the run's distance."""
        return (self._clock.steady() - steady_ms) / 1000

    def wall(self, steady_ms: int) -> int:
        """The same moment by the wall clock as it goes now."""
        return steady_ms + self._clock.distance()

    def bytes_between(self, start: int, end: int) -> int:
        """About how many bytes the records from `start` to `end` take on disk."""
        total = 0.0
        for segment in self.segments:
            segment_end = self.end_of(segment)
            count = segment_end - segment.base
            overlap = min(end, segment_end) - max(start, segment.base)
            if overlap > 0 and count > 0:
                total += segment.size * overlap / count
        return round(total)

    def _note(self, at: int, end: int, segment: Segment | None) -> None:
        """Say once that records are damaged, whoever comes across it."""
        with self._lock:
            for first, last in self._noted:  # two batches may come across parts of the same gap
                if first <= at < last:
                    at = last
                elif at < first < end <= last:
                    end = first
            if at >= end:
                return
            self._noted.append((at, end))
        if segment is not None:
            segment.damaged = True
        where = "" if segment is None else segment.path.name
        log.error("stored records are damaged or gone", lane=self.name, first=at, records=end - at, segment=where)


def _base(segment: Segment) -> int:
    return segment.base
