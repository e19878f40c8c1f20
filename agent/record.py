"""
The one record, as bytes: `{"ts": <epoch ms>, "source": "...", "tags": {...}, "fields": {...}}`.

The hot path never builds a record as Python objects. A `Stream` renders everything but time and
fields once; each record is then `{"ts":` + time + the stream's middle + fields + `}`, and a batch is
records joined by commas (`Run.body`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

MAX_DEPTH = 64  # nesting beyond this is a bad record: parsers downstream recurse (DESIGN, Record)


class Parsed(NamedTuple):
    """One record out of a payload, where the payload is not simply spliced in."""

    fields: bytes  # a JSON object
    ts_ms: int | None = None  # None: arrival
    tags: Mapping[str, str] | None = None  # out of the payload; they win over the stream's


Parse = Callable[[bytes], Sequence[Parsed]]  # raises errors.BadPayload


@dataclass(slots=True, eq=False)
class Stream:
    """
    Where records come from: one source with one set of tags (for MQTT: one topic).

    A collector makes it once and emits with it many times. `parse` turns a payload into records;
    None means the payload is JSON, taken at arrival time: an object is spliced in unparsed, an array
    of objects is a record each, a scalar becomes the field `value`.
    """

    source: str  # "host.cpu", "mqtt.plant"
    tags: Mapping[str, str] = field(
        default_factory=dict
    )  # the topic's own; intake adds the agent's and the collector's
    parse: Parse | None = None
    never: str = ""  # a lane these records must not go to
    # What intake works out at first sight, and again after a reload (`epoch`).
    epoch: int = -1
    middle: bytes = b""
    route: Any = None


class Emission(NamedTuple):
    """
    What a collector hands over at once: columns of equal length, in the order of arrival.

    `origin` is the collector's name: it stands in the frame, and what is acknowledged is looked up by it.
    `packets` and `hashes` (MQTT QoS 1 and 2 only, else None) are kept beside the records so that a
    redelivery can be recognised after a crash; packet 0 means none.
    """

    origin: str
    streams: Sequence[Stream]
    payloads: Sequence[bytes]
    received_ms: int
    packets: Sequence[int] | None = None
    hashes: Sequence[int] | None = None  # 64 bit


def middle(source: str, tags: Mapping[str, str]) -> bytes:
    """What stands in a record between its time and its fields."""
    return b',"source":%b,"tags":%b,"fields":' % (orjson.dumps(source), orjson.dumps(dict(tags)))


def source_and_tags(middle: bytes) -> tuple[str, dict[str, str]]:
    """What a middle was made of."""
    read = orjson.loads(b"{%bnull}" % middle[1:])
    return read["source"], read["tags"]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records of one segment, as read from the spool: the stuff of a batch."""

    segment_id: int
    first: int  # index in the lane
    body: bytes  # the records joined by commas
    lengths: array[int]  # bytes of each record
    oldest_ms: int  # when the oldest of its frames was taken in, wall clock
    newest_ms: int
    # The clock that stamped these records has been set since by so much: add it to a time they carry from
    # arrival. It is in the two times above already.
    clock_offset_ms: int = 0
    ageless: bool = False  # no clock can tell how old they are: never expire them by age
    distance_ms: int = 0  # of the wall clock from the one since boot, when the two times above were reckoned

    @property
    def count(self) -> int:
        return len(self.lengths)

    @property
    def end(self) -> int:
        """The index after the last record."""
        return self.first + len(self.lengths)

    def records(self) -> list[bytes]:
        """Each record by itself."""
        body = self.body
        return [body[end - size : end] for size, end in zip(self.lengths, self._ends(), strict=True)]

    def slice(self, start: int, stop: int) -> Run:
        """The records `start` to `stop` (positions within this run) as a run of their own."""
        ends = list(self._ends())
        low = ends[start] - self.lengths[start]
        return Run(
            self.segment_id,
            self.first + start,
            self.body[low : ends[stop - 1]],
            self.lengths[start:stop],
            self.oldest_ms,
            self.newest_ms,
            self.clock_offset_ms,
            self.ageless,
            self.distance_ms,
        )

    def _ends(self) -> list[int]:
        # Each record is followed by a comma, the last by none.
        return [total + i for i, total in enumerate(accumulate(self.lengths))]


def batch_id(segment_id: int, first: int, count: int, crc: int) -> str:
    """The name of a batch: `<segment id>-<first>-<last>-<crc32 of its uncompressed data>` (promise 3)."""
    return f"{segment_id:016x}-{first}-{first + count - 1}-{crc:08x}"


def record_id(segment_id: int, index: int) -> str:
    """The name of a record: `<segment id>-<index>`."""
    return f"{segment_id:016x}-{index}"
