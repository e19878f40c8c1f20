"""Cutting a run of records out of a segment."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from agent.record import Run
from agent.spool.clock import STEP_MS, Clock
from agent.spool.frame import Header, is_whole, lengths_of
from agent.spool.scan import File, NoFile, Window, payload, walk
from agent.spool.segment import Segment
from agent.spool.tail import Tail


@dataclass(frozen=True, slots=True)
class Stretch:
    """
    Reads that keep to stretches of wall-clock time, by when records were taken in: one read, one stretch.

    The bounds are multiples of `length_ms` since 1970. `patient`: what does not fill a read is held
    back until its stretch has been over for `delay_ms`.
    """

    length_ms: int
    delay_ms: int = 0
    patient: bool = True

    def left_ms(self, taken_in_ms: int, now_ms: int) -> int:
        """
        How long to hold back what was taken in then; 0: not at all.

        A clock that was set back makes times lie ahead of it. What lies further ahead than this stretch
        is not waited for: nobody knows when its time would come.
        """
        over = (taken_in_ms // self.length_ms + 1) * self.length_ms + self.delay_ms
        left = over - now_ms
        return left if 0 < left <= self.length_ms + self.delay_ms + STEP_MS else 0


@dataclass(frozen=True, slots=True)
class NotYet:
    """Records that are held back: their stretch is not over."""

    first: int
    end: int  # the index after the last of them
    oldest_ms: int
    seconds: float  # until it is over
    room: int  # bytes that could still be read with them
    grows: bool  # what comes next may belong to them


class _Ages:
    """When the frames of one read were taken in, by corrected clocks."""

    def __init__(self, clock: Clock, aged_before: int, stretch: Stretch | None) -> None:
        self._clock = clock
        # One for the whole read: the clock may be set meanwhile.
        self.distance = clock.distance()
        self._aged_before = aged_before
        self._stretch = stretch
        self._known: dict[tuple[bytes, int, int], tuple[int, bool]] = {}
        self._sort: tuple[int, bool, bool, int] | None = None
        self._next = (0, False, False, 0)
        self.oldest = self.newest = 0
        self._oldest = self._newest = 0  # of the frame looked at last
        self.offset, self.ageless = 0, False

    def mixes(self, header: Header) -> bool:
        """Whether that frame may not share a run with those before it."""
        key = (header.boot, header.newest_ms - header.newest_boot_ms, header.flags)
        correction = self._known.get(key)
        if correction is None:
            correction = self._known[key] = self._clock.correction(header, self.distance)
        offset, dated = correction
        self._oldest, self._newest = header.oldest_ms + offset, header.newest_ms + offset
        stretch = 0 if self._stretch is None else self._newest // self._stretch.length_ms
        self._next = (offset, dated, dated and self._newest < self._aged_before, stretch)
        return self._sort is not None and self._next != self._sort

    def add(self) -> None:
        """The frame looked at last is part of the run."""
        if self._sort is None:
            self._sort = self._next
            self.offset, self.ageless = self._next[0], not self._next[1]
            self.oldest, self.newest = self._oldest, self._newest
        else:
            self.oldest, self.newest = min(self.oldest, self._oldest), max(self.newest, self._newest)

    def left_ms(self) -> int:
        """How long they are to be held back."""
        if self._stretch is None or not self._stretch.patient or self.ageless or self.newest < self._aged_before:
            return 0
        return self._stretch.left_ms(self.newest, self._clock.now())


def read_run(
    segment: Segment,
    at: int,
    limit: int,
    records: int,
    size: int,
    clock: Clock,
    tail: Tail,
    aged_before: int = 0,
    stretch: Stretch | None = None,
    *,
    at_hand: bool = False,
) -> Run | NotYet | int:
    """
    Records from `at` on and below `limit`; or, where `at` is lost, the index at which they go on.

    Every frame is checked as it is read. A run ends before damage, so the loss shows at the next read.
    NotYet where `stretch` holds them back. With `at_hand` no file is touched; raises NotAtHand where it
    would have to be.
    """
    lengths: array[int] = array("I")
    bodies: list[memoryview] = []
    ages = _Ages(clock, aged_before, stretch)
    expected, left, is_full = at, size, False
    with NoFile() if at_hand else File(segment.path) as file:
        stop = segment.size
        window = Window(file, stop, kept=partial(tail.at, segment.id))
        for offset, header in walk(window, segment.locate(at), stop, segment.id):
            segment.remember(header.base, offset)
            if header.end <= expected:
                continue
            if header.base > expected or header.base >= limit:
                if not bodies:
                    return min(header.base, limit)
                break
            text = payload(window, offset, header)
            if not is_whole(header, text):
                if not bodies:
                    continue  # the next whole frame says where they go on
                break
            skipped = expected - header.base
            found = lengths_of(header, text)[skipped:]
            body = text[header.columns_bytes :]
            if skipped:
                body = body[header.body_bytes - sum(found) - len(found) + 1 :]
            room = left - bool(bodies)
            count = _fitting(found, records - len(lengths), room, len(body))
            if not bodies:
                count = max(count, 1)
            is_other = ages.mixes(header)
            if is_other or not count:
                is_full = not is_other
                segment.expect(expected, offset)
                break
            ages.add()
            if count < len(found):
                found = found[:count]
                body = body[: sum(found) + count - 1]
            bodies.append(body)
            lengths.extend(found)
            expected += count
            left = room - len(body)
            is_full = expected < header.end or len(lengths) >= records or left <= 0
            if expected < header.end:
                segment.expect(expected, offset)
                break
            if is_full:
                segment.expect(expected, offset + header.size)
                break
    if not bodies:
        return limit
    if not is_full and (wait := ages.left_ms()):
        return NotYet(at, expected, ages.oldest, wait / 1000, left - 1, grows=expected >= limit)
    return Run(
        segment.id,
        at,
        b",".join(bodies),
        lengths,
        ages.oldest,
        ages.newest,
        ages.offset,
        ages.ageless,
        ages.distance,
    )


def _fitting(lengths: array[int], records: int, size: int, whole: int) -> int:
    """How many records, with a comma between each two, fit in `size` bytes; all of them take `whole`."""
    if len(lengths) <= records and whole <= size:
        return len(lengths)
    ends = list(accumulate(lengths[:records]))
    return bisect_right(range(1, len(ends) + 1), size, key=lambda count: ends[count - 1] + count - 1)
