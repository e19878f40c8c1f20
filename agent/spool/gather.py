"""From what was appended to the frames of a group commit."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from agent.spool.clock import Clock
from agent.spool.frame import BODY_BYTES, Draft, draft
from agent.spool.part import Part

# Parts are merged into one frame only when they arrived this close together: a frame ages as a whole.
TOGETHER_MS = 1000


@dataclass(slots=True, eq=False)
class Job:
    """One append: its parts, their size, and the future that is done when they are durable."""

    parts: Sequence[Part]
    size: int
    done: asyncio.Future[None]
    # Of the wall clock from the one since boot when each part arrived: it may be set before they are written.
    distances: Sequence[int]


def claim_once(parts: Sequence[Part]) -> list[Part]:
    """
    Check the columns of packets and hashes, and leave each packet id with one record: the last that is
    written of those its message became.

    What claims that a message is stored must be the last thing of it that becomes durable, or a crash in
    between would have the redelivery acknowledged and the rest of the message lost. Lanes are committed
    in the order of their names. Raises ValueError for columns that do not fit the records.
    """
    if len(parts) == 1 and parts[0].packets is not None:  # nearly always
        part = _checked(parts[0], parts[0].packets)
        if len(set(part.packets or ())) == len(part.records):
            return [part]
    taken: set[int] = set()
    out: dict[int, Part] = {}
    for place in sorted(range(len(parts)), key=lambda i: (parts[i].lane, i), reverse=True):
        part = parts[place]
        if part.packets is not None:
            packets = array("H", part.packets)
            distinct = set(packets)
            distinct.discard(0)
            if len(distinct) < len(packets) or distinct & taken:
                for i in range(len(packets) - 1, -1, -1):
                    if packets[i] in taken:
                        packets[i] = 0
                    elif packets[i]:
                        taken.add(packets[i])
            taken |= distinct
            part = _checked(part, packets)
        out[place] = part
    return [out[place] for place in range(len(parts))]


def _checked(part: Part, packets: Sequence[int]) -> Part:
    """The part with its columns as arrays: what does not fit them is the caller's mistake, not the writer's."""
    ids = array("H", packets)
    hashes = array("Q", bytes(8 * len(ids)) if part.hashes is None else part.hashes)
    if not len(part.records) == len(ids) == len(hashes):
        raise ValueError(f"{len(part.records)} records, {len(ids)} packets, {len(hashes)} hashes")
    return replace(part, packets=ids, hashes=hashes)


def drafts(parts: Sequence[Part], clock: Clock, distance: int) -> list[Draft]:
    """
    The frames for the parts of one lane: as few as the limit on a body allows.

    `distance`: of the wall clock from the one since boot when they arrived.
    """
    return [made for together in _alike(parts) for made in _cut(together, clock, distance)]


def _alike(parts: Sequence[Part]) -> Iterator[list[Part]]:
    together: list[Part] = []
    for part in parts:
        if together:
            first = together[0]
            same = (part.origin, part.kind) == (first.origin, first.kind)
            if not same or abs(part.received_ms - first.received_ms) > TOGETHER_MS:
                yield together
                together = []
        together.append(part)
    if together:
        yield together


def _cut(parts: list[Part], clock: Clock, distance: int) -> Iterator[Draft]:
    first = parts[0]
    records: Sequence[bytes]
    records = first.records if len(parts) == 1 else list(chain.from_iterable(part.records for part in parts))
    lengths = first.lengths
    for part in parts[1:]:
        lengths = lengths + part.lengths
    packets = hashes = None
    if any(part.packets is not None for part in parts):
        packets, hashes = array("H"), array("Q")
        for part in parts:
            count = len(part.records)
            packets.extend(array("H", bytes(2 * count)) if part.packets is None else array("H", part.packets))
            hashes.extend(array("Q", bytes(8 * count)) if part.hashes is None else array("Q", part.hashes))
    received = [part.received_ms for part in parts]
    stamp = clock.stamp(min(received), max(received), distance)
    origin = first.origin.encode()
    for start, stop in _pieces(lengths):
        yield draft(
            first.kind,
            stamp,
            origin,
            b",".join(records[start:stop]),
            lengths[start:stop],
            None if packets is None else packets[start:stop],
            None if hashes is None else hashes[start:stop],
        )


def _pieces(lengths: array[int]) -> Iterator[tuple[int, int]]:
    """Where to cut, so that each body but that of a single record fits in BODY_BYTES."""
    count = len(lengths)
    usual = BODY_BYTES * count // max(1, sum(lengths) + count)  # a body is its records and a comma between each two
    start = 0
    while start < count:
        stop = min(start + max(1, usual), count)
        size = sum(lengths[start:stop]) + stop - start - 1
        while size > BODY_BYTES and stop - start > 1:
            stop -= 1
            size -= lengths[stop] + 1
        while stop < count and size + 1 + lengths[stop] <= BODY_BYTES:
            size += 1 + lengths[stop]
            stop += 1
        yield start, stop
        start = stop
