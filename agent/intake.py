"""
From collectors to the spool: check every payload, stamp it, route it to the lanes that want it.

    emit(emission) ─▸ check ─▸ stamp (time, tags) ─▸ route (once per stream) ─▸ spool.append ─▸ future
                        └▸ dead letter, in the same commit, so that it is acknowledged like a record

Nothing here waits: the future that `emit` gives is done when everything the emission held is durable,
as a record or as a dead letter. The spool gathers what comes meanwhile into the next group.

Tags, where two places give the same one: global < collector < topic < payload.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson
import structlog

from agent import payload as payloads
from agent.errors import BadPayload
from agent.options import Selection
from agent.ports import Emit
from agent.record import Emission, Parsed, Stream, middle
from agent.spool import Kind, Part, Spool
from agent.stats import Counter, Stats

log = structlog.get_logger()

MAX_DEAD_PAYLOAD = 64 * 1024  # of a payload kept in its dead letter: enough to see what was wrong
DEAD_LANE = "dead"
SAY_AGAIN = 3600.0  # seconds between two lines about bad payloads of one collector


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """The lanes that want the records of a stream. Streams with the same lanes share one: it is known by identity."""

    lanes: tuple[str, ...]


class _Lots:
    """What one emission puts into one lane."""

    __slots__ = ("hashes", "packets", "records")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.packets: list[int] = []
        self.hashes: list[int] = []

    def add(self, record: bytes, packet: int, digest: int) -> None:
        self.records.append(record)
        self.packets.append(packet)
        self.hashes.append(digest)

    def part(self, lane: str, emission: Emission, kind: Kind) -> Part:
        known = emission.packets is not None
        return Part(
            lane,
            emission.origin,
            self.records,
            emission.received_ms,
            kind,
            packets=self.packets if known else None,
            hashes=self.hashes if known else None,
        )


class Intake:
    """Takes emissions in. One per agent; a reload makes a new one over the same spool."""

    def __init__(
        self,
        spool: Spool,
        selections: Sequence[Selection],
        tags: Mapping[str, str],
        *,
        max_record: int,
        stats: Stats,
    ) -> None:
        self._spool = spool
        self._selections = {selection.lane: selection for selection in selections}
        self._tags = dict(tags)
        self._max_record = max_record
        self._stats = stats
        # A stream met under another intake (before a reload) is routed anew.
        self._epoch = id(self)
        self._said: dict[
            str, tuple[float, int]
        ] = {}  # by collector: when bad payloads were last told of, how many since
        self._bases: dict[str, dict[str, str]] = {}  # by collector: global tags and its own
        self._routes: dict[tuple[str, ...], Route] = {}
        self._rendered = lru_cache(maxsize=10_000)(self._render)

    def emitter(self, name: str, tags: Mapping[str, str] | None = None) -> Emit:
        """The `emit` of the collector of that name; `tags` are those of its table."""
        self._bases[name] = {**self._tags, **(tags or {})}
        received = self._stats.counter("agent_intake_received_total", "Payloads taken from collectors.", collector=name)
        committed = self._stats.counter("agent_intake_committed_total", "Payloads made durable.", collector=name)
        records = self._stats.counter("agent_intake_records_total", "Records stored.", collector=name)

        def emit(emission: Emission) -> asyncio.Future[None]:
            received.add(len(emission.payloads))
            parts, refused, stored = self.parts(emission)
            future = self._spool.append(parts)
            future.add_done_callback(
                lambda done: self._book(done, name, committed, records, len(emission.payloads), refused, stored)
            )
            return future

        return emit

    def parts(self, emission: Emission) -> tuple[list[Part], dict[str, int], int]:
        """What the spool is to store for an emission; how many payloads were refused, by reason; how many records."""
        streams = set(emission.streams)
        for stream in streams:
            if stream.epoch != self._epoch:
                stream.middle, stream.route = self._render(stream, emission.origin, ())
                stream.epoch = self._epoch
        routes = {stream.route for stream in streams}
        if (
            len(routes) == 1
            and all(stream.parse is None for stream in streams)
            and payloads.all_plain_objects(emission.payloads)
        ):
            prefix = b'{"ts":%d' % emission.received_ms
            join = b"".join
            records = [
                join((prefix, stream.middle, payload, b"}"))
                for stream, payload in zip(emission.streams, emission.payloads, strict=True)
            ]
            if max(map(len, records)) <= self._max_record:
                return self._plain_parts(emission, next(iter(routes)), records)
        return self._careful_parts(emission)

    def _plain_parts(
        self, emission: Emission, route: Route, records: list[bytes]
    ) -> tuple[list[Part], dict[str, int], int]:
        if not route.lanes:
            return [], {"unselected": len(records)}, 0
        parts = [
            Part(
                lane,
                emission.origin,
                records,
                emission.received_ms,
                packets=emission.packets,
                hashes=emission.hashes,
            )
            for lane in route.lanes
        ]
        return parts, {}, len(records)

    def _careful_parts(self, emission: Emission) -> tuple[list[Part], dict[str, int], int]:
        """One by one: some payload is parsed, is no plain object, or is bad."""
        lanes: dict[str, _Lots] = {}
        dead = _Lots()
        refused: dict[str, int] = {}
        stored = 0
        packets = emission.packets or [0] * len(emission.payloads)
        hashes = emission.hashes or [0] * len(emission.payloads)
        for stream, payload, packet, digest in zip(emission.streams, emission.payloads, packets, hashes, strict=True):
            try:
                rendered = self._records(emission, stream, payload)
            except BadPayload as bad:
                refused["bad"] = refused.get("bad", 0) + 1
                dead.add(dead_letter(emission, stream, payload, str(bad)), packet, digest)
                continue
            except Exception as bug:
                # A parser's bug costs the payload that found it, never the others of its group.
                log.exception("bug in a parser, the payload is kept as a dead letter", collector=emission.origin)
                refused["bad"] = refused.get("bad", 0) + 1
                dead.add(dead_letter(emission, stream, payload, f"bug: {bug!r}"), packet, digest)
                continue
            stored += len(rendered)
            if not rendered or not any(route.lanes for _, route in rendered):
                refused["unselected"] = refused.get("unselected", 0) + bool(rendered)
            for record, route in rendered:
                for lane in route.lanes:
                    lanes.setdefault(lane, _Lots()).add(record, packet, digest)
        parts = [lots.part(lane, emission, Kind.RECORDS) for lane, lots in lanes.items()]
        if dead.records:
            parts.append(dead.part(DEAD_LANE, emission, Kind.DEAD))
        return parts, refused, stored

    def _records(self, emission: Emission, stream: Stream, payload: bytes) -> list[tuple[bytes, Route]]:
        parsed: Sequence[Parsed]
        if stream.parse is None:
            parsed = [Parsed(fields) for fields in payloads.closely(payload)]
        else:
            parsed = stream.parse(payload)
        out = []
        for fields, ts_ms, tags in parsed:
            between, route = stream.middle, stream.route
            if tags:
                between, route = self._rendered(stream, emission.origin, tuple(sorted(tags.items())))
            record = b'{"ts":%d%b%b}' % (
                emission.received_ms if ts_ms is None else ts_ms,
                between,
                fields,
            )
            if len(record) > self._max_record:
                raise BadPayload(f"a record of {len(record)} bytes; max_record is {self._max_record}")
            out.append((record, route))
        return out

    def _render(self, stream: Stream, origin: str, extra: tuple[tuple[str, str], ...]) -> tuple[bytes, Route]:
        """What stands between time and fields, and the lanes that want it. `extra` are tags out of a payload."""
        base = self._bases.get(origin, self._tags)
        tags = {**base, **stream.tags, **dict(extra)}
        lanes = tuple(lane for lane, selection in self._selections.items() if selection.matches(stream.source, tags))
        return middle(stream.source, tags), self._routes.setdefault(lanes, Route(lanes))

    def _book(
        self,
        done: asyncio.Future[None],
        name: str,
        committed: Counter,
        records: Counter,
        count: int,
        refused: Mapping[str, int],
        stored: int,
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        for reason, n in refused.items():
            self._stats.counter(
                "agent_intake_refused_total", "Payloads that became no record.", collector=name, reason=reason
            ).add(n)
        if "bad" in refused:
            self._say_bad(name, refused["bad"])
        committed.add(count - sum(refused.values()))
        records.add(stored)

    def _say_bad(self, name: str, count: int) -> None:
        """One line for the first, and one an hour while there are more: garbage may come a thousand times a second."""
        now = time.monotonic()
        since, unsaid = self._said.get(name, (-math.inf, 0))
        unsaid += count
        if now - since >= SAY_AGAIN:
            log.warning("payloads refused, kept as dead letters", collector=name, count=unsaid, see="dead-letters list")
            since, unsaid = now, 0
        self._said[name] = (since, unsaid)


def dead_letter(emission: Emission, stream: Stream, payload: bytes, reason: str) -> bytes:
    """The dead letter of a payload that never became a record."""
    text, encoding = readable(payload)
    return orjson.dumps(
        {
            "id": None,
            "sink": "intake",
            "ts": emission.received_ms,
            "origin": emission.origin,
            "source": stream.source,
            "tags": dict(stream.tags),
            "reason": reason,
            "status": None,
            "answer": "",
            "payload": text,
            "encoding": encoding,
            "size": len(payload),
        }
    )


def readable(payload: bytes) -> tuple[str, str]:
    """A payload as text, and which encoding that text has: utf8, or base64 where it is no UTF-8."""
    cut = payload[:MAX_DEAD_PAYLOAD]
    try:
        return cut.decode(), "utf8"
    except UnicodeDecodeError as error:
        if len(cut) < len(payload) and error.start >= len(cut) - 3:
            # A character cut in two at the very end is the cut's fault, not the payload's.
            return cut[: error.start].decode(), "utf8"
        return base64.b64encode(cut).decode("ascii"), "base64"
