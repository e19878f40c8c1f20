"""Cutting a run of records out of a segment."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from agent.record import Run
from agent.spool.clock import Clock
from agent.spool.frame import Header, is_whole, lengths_of
from agent.spool.scan import Window, payload, walk
from agent.spool.segment import Segment


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read a file with. What it has opened stays readable when the file is unlinked."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


class _Ages:
    """When the frames of one read were taken in, by corrected clocks."""

    def __init__(self, clock: Clock, aged_before: int) -> None:
        self._clock = clock
        self._aged_before = aged_before
        self._known: dict[tuple[bytes, int, int], tuple[int, bool]] = {}
        self._first: tuple[int, bool, bool] | None = None
        self.oldest = self.newest = 0
        self.offset, self.ageless = 0, False

    def mixes(self, header: Header) -> bool:
        """Whether that frame may not share a run with those before it; if it may, it is counted in."""
        key = (header.boot, header.newest_ms - header.newest_boot_ms, header.flags)
        correction = self._known.get(key)
        if correction is None:
            correction = self._known[key] = self._clock.correction(header)
        offset, dated = correction
        oldest, newest = header.oldest_ms + offset, header.newest_ms + offset
        sort = (offset, dated, dated and newest < self._aged_before)
        if self._first is None:
            self._first = sort
            self.offset, self.ageless = offset, not dated
            self.oldest, self.newest = oldest, newest
        elif sort != self._first:
            return True
        self.oldest, self.newest = min(self.oldest, oldest), max(self.newest, newest)
        return False


def read_run(
    segment: Segment, at: int, limit: int, records: int, size: int, clock: Clock, aged_before: int = 0
) -> Run | int:
    """
    Records from `at` on and below `limit`; or, where `at` is lost, the index at which they go on.

    Every frame is checked as it is read. A run ends before damage, so the loss shows at the next read.
    """
    lengths: array[int] = array("I")
    bodies: list[memoryview] = []
    ages = _Ages(clock, aged_before)
    expected, left = at, size
    with opened(segment.path) as fd:
        stop = segment.size
        window = Window(fd, stop)
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
            if not count or ages.mixes(header):
                segment.expect(expected, offset)
                break
            if count < len(found):
                found = found[:count]
                body = body[: sum(found) + count - 1]
            bodies.append(body)
            lengths.extend(found)
            expected += count
            left = room - len(body)
            if expected < header.end:
                segment.expect(expected, offset)
                break
            if len(lengths) >= records or left <= 0:
                segment.expect(expected, offset + header.size)
                break
    if not bodies:
        return limit
    return Run(segment.id, at, b",".join(bodies), lengths, ages.oldest, ages.newest, ages.offset, ages.ageless)


def _fitting(lengths: array[int], records: int, size: int, whole: int) -> int:
    """How many records, with a comma between each two, fit in `size` bytes; all of them take `whole`."""
    if len(lengths) <= records and whole <= size:
        return len(lengths)
    ends = list(accumulate(lengths[:records]))
    return bisect_right(range(1, len(ends) + 1), size, key=lambda count: ends[count - 1] + count - 1)
