"""
From collectors to the spool: check every payload, stamp it, route it to the lanes that want it.

    emit(emission) ─▸ check ─▸ stamp (time, tags) ─▸ route (once per stream) ─▸ spool.append ─▸ future
                        │                              └▸ rules that watch it ─▸ events ─┘
                        └▸ dead letter, in the same commit, so that it is acknowledged like a record

Nothing here waits: the future that `emit` gives is done when everything the emission held is durable,
as a record or as a dead letter. The spool gathers what comes meanwhile into the next group.

An event is committed in the same append as the record that caused it, and carries that record's packet id: it
is there whenever a redelivery of the message would be taken for a repetition.

Tags, where two places give the same one: global < collector < topic < payload.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress, count
from typing import NamedTuple

import orjson
import structlog

from agent import payload as payloads
from agent.errors import BadPayload
from agent.events.rule import BOOKS
from agent.events.watch import Event, Watch
from agent.intake.gate import Gate
from agent.intake.gathered import DEAD_LANE, Gathered, Taken
from agent.intake.letters import dead_letter
from agent.intake.routing import Route, Routing
from agent.options import Selection
from agent.ports import Emit
from agent.record import Emission, Parsed, Stream, middle
from agent.spool import Part, Spool
from agent.stats import Counter, Stats

log = structlog.get_logger()

SAY_AGAIN = 3600.0  # seconds between two lines about bad payloads of one collector


_epochs = count()


class _Record(NamedTuple):
    """A finished record, and what it was made of."""

    whole: bytes
    route: Route
    middle: bytes
    fields: bytes
    ts_ms: int


class _Counters(NamedTuple):
    """The books of one collector."""

    received: Counter
    committed: Counter
    records: Counter


class Intake:
    """Takes emissions in. One per agent; a reload changes where they go."""

    def __init__(
        self,
        spool: Spool,
        selections: Sequence[Selection],
        tags: Mapping[str, str],
        *,
        max_record: int,
        stats: Stats,
        watch: Watch | None = None,
    ) -> None:
        # Shut while it is changed who reads which lane: nothing is on its way to one then.
        self.gate = Gate()
        self._spool = spool
        self._watch = watch
        self.change(selections)
        self._tags = dict(tags)
        self._max_record = max_record
        self._stats = stats
        # By collector: when bad payloads were last told of, how many since.
        self._said: dict[str, tuple[float, int]] = {}
        self._is_bug_said = False
        # Events on their way to the disk: how far their lanes went before.
        self._under_way: dict[asyncio.Future[None], dict[str, int]] = {}
        self._bases: dict[str, dict[str, str]] = {}  # by collector: global tags and its own

    def emitter(self, name: str, tags: Mapping[str, str] | None = None) -> Emit:
        """The `emit` of the collector of that name; `tags` are those of its table."""
        self._bases[name] = {**self._tags, **(tags or {})}
        counters = self._counters(name)

        def emit(emission: Emission) -> asyncio.Future[None]:
            if self.gate.is_shut:
                return self.gate.wait(partial(emit, emission))
            counters.received.add(len(emission.payloads))
            taken = self.take(emission)
            heads = self.heads() if taken.events else {}
            future = self._spool.append(taken.parts)
            future.add_done_callback(lambda done: self._book(done, name, counters, len(emission.payloads), taken))
            if taken.events:
                self._counters(BOOKS).received.add(len(taken.events))
                self._under_way[future] = heads
                future.add_done_callback(lambda done: self._book_events(done, taken))
            return future

        return emit

    def change(self, selections: Sequence[Selection]) -> None:
        """From now on records go where these say, and to the rules as they are now. While the gate is shut."""
        self._routing = Routing(selections, self._watch)
        # A stream that was routed before is routed anew.
        self._epoch = next(_epochs)
        self._told_in = [] if self._watch is None else self._routing.may_go_to(self._watch.sources)

    def take(self, emission: Emission) -> Taken:
        """What the spool is to store for an emission, the events that it causes, and what is refused of it."""
        streams = set(emission.streams)
        for stream in streams:
            if stream.epoch != self._epoch:
                tags = {**self._bases.get(emission.origin, self._tags), **stream.tags}
                stream.middle, stream.route = self._render(stream, tags)
                stream.epoch = self._epoch
        routes: set[Route] = {stream.route for stream in streams}
        if all(stream.parse is None for stream in streams) and payloads.all_plain_objects(emission.payloads):
            prefix = b'{"ts":%d' % emission.received_ms
            join = b"".join
            records = [
                join((prefix, stream.middle, payload, b"}"))
                for stream, payload in zip(emission.streams, emission.payloads, strict=True)
            ]
            if max(map(len, records)) <= self._max_record:
                taken = self._plain(emission, routes, records)
                if any(route.rules for route in routes):
                    self._watch_plain(emission, {stream for stream in streams if stream.route.rules}, taken)
                return taken
        return self._carefully(emission)

    def _plain(self, emission: Emission, routes: set[Route], records: list[bytes]) -> Taken:
        """Put whole columns where all routes lead, and for a lane that wants some of them a choice of each."""
        taken = Taken([], {}, len(records))
        for lane in dict.fromkeys(lane for route in routes for lane in route.lanes):
            chosen, packets, hashes = records, emission.packets, emission.hashes
            wanting = {route for route in routes if lane in route.lanes}
            if len(wanting) < len(routes):
                choice = [stream.route in wanting for stream in emission.streams]
                chosen = list(compress(records, choice))
                packets = None if packets is None else list(compress(packets, choice))
                hashes = None if hashes is None else list(compress(hashes, choice))
            taken.parts.append(
                Part(lane, emission.origin, chosen, emission.received_ms, packets=packets, hashes=hashes)
            )
        if not all(route.lanes for route in routes):
            unselected = sum(not stream.route.lanes for stream in emission.streams)
            taken.refused["unselected"] = unselected
            taken.stored -= unselected
        return taken

    def _watch_plain(self, emission: Emission, watched: set[Stream], taken: Taken) -> None:
        """Show what is watched to its rules. The events come after the records."""
        gathered = Gathered(emission)
        packets, hashes, ts_ms = emission.packets, emission.hashes, emission.received_ms
        for n, stream in enumerate(emission.streams):
            if stream in watched:
                record = _Record(b"", stream.route, stream.middle, emission.payloads[n], ts_ms)
                packet, digest = packets[n] if packets else 0, hashes[n] if hashes else 0
                self._show(record, emission, packet, digest, gathered, taken)
        taken.parts += gathered.parts()

    def _show(
        self, record: _Record, emission: Emission, packet: int, digest: int, gathered: Gathered, taken: Taken
    ) -> None:
        """Show a record to the rules that watch it, and put the events that it causes beside it."""
        if self._watch is None:
            return
        rules, arrival = record.route.rules, emission.received_ms
        try:
            for event in self._watch.take(rules, record.middle, record.fields, record.ts_ms, arrival):
                self._add_event(event, emission, packet, digest, gathered, taken)
        except Exception:
            # A rule's bug must not cost the record, which is stored whatever rules make of it.
            if not self._is_bug_said:
                self._is_bug_said = True
                log.exception("bug in event rules, records are stored without", collector=emission.origin)

    def _add_event(
        self, event: Event, emission: Emission, packet: int, digest: int, gathered: Gathered, taken: Taken
    ) -> None:
        """Put an event where it goes. It carries the packet id of its record: see the top."""
        record = b'{"ts":%d%b%b}' % (event.ts_ms, middle(event.source, event.tags), orjson.dumps(event.fields))
        lanes, refused = self._routing.lanes(event.source, event.tags), taken.events_refused
        taken.events.append(event)
        if len(record) > self._max_record:
            refused["bad"] = refused.get("bad", 0) + 1
            reason = f"an event of {len(record)} bytes; max_record is {self._max_record}"
            letter = dead_letter(emission, Stream(event.source, event.tags), record, reason)
            gathered.add(DEAD_LANE, letter, packet, digest)
            return
        if not lanes:
            refused["unselected"] = refused.get("unselected", 0) + 1
        for lane in lanes:
            gathered.add(lane, record, packet, digest)

    def _carefully(self, emission: Emission) -> Taken:
        """One by one: some payload is parsed, is no plain object, or is bad."""
        gathered = Gathered(emission)
        taken = Taken([], {}, 0)
        refused = taken.refused
        packets = emission.packets or [0] * len(emission.payloads)
        hashes = emission.hashes or [0] * len(emission.payloads)
        for stream, payload, packet, digest in zip(emission.streams, emission.payloads, packets, hashes, strict=True):
            try:
                rendered = self._records(emission, stream, payload)
            except BadPayload as bad:
                refused["bad"] = refused.get("bad", 0) + 1
                gathered.add(DEAD_LANE, dead_letter(emission, stream, payload, str(bad)), packet, digest)
                continue
            except Exception as bug:
                # A parser's bug costs the payload that found it, never the others of its group.
                log.exception("bug in a parser, the payload is kept as a dead letter", collector=emission.origin)
                refused["bad"] = refused.get("bad", 0) + 1
                gathered.add(DEAD_LANE, dead_letter(emission, stream, payload, f"bug: {bug!r}"), packet, digest)
                continue
            taken.stored += sum(bool(record.route.lanes) for record in rendered)
            if not rendered or not any(record.route.lanes for record in rendered):
                refused["unselected"] = refused.get("unselected", 0) + bool(rendered)
            for record in rendered:
                for lane in record.route.lanes:
                    gathered.add(lane, record.whole, packet, digest)
                if record.route.rules:
                    self._show(record, emission, packet, digest, gathered, taken)
        taken.parts += gathered.parts()
        return taken

    def _records(self, emission: Emission, stream: Stream, payload: bytes) -> list[_Record]:
        parsed: Sequence[Parsed]
        if stream.parse is None:
            parsed = [Parsed(fields) for fields in payloads.closely(payload)]
        else:
            parsed = stream.parse(payload)
        out = []
        for fields, ts_ms, tags in parsed:
            between, route = stream.middle, stream.route
            if tags:
                # In one order, by which rules know them again.
                extra = dict(sorted(tags.items())) if len(tags) > 1 else tags
                base = self._bases.get(emission.origin, self._tags)
                between, route = self._render(stream, {**base, **stream.tags, **extra})
            at = emission.received_ms if ts_ms is None else ts_ms
            record = b'{"ts":%d%b%b}' % (at, between, fields)
            if len(record) > self._max_record:
                raise BadPayload(f"a record of {len(record)} bytes; max_record is {self._max_record}")
            out.append(_Record(record, route, between, fields, at))
        return out

    def _render(self, stream: Stream, tags: dict[str, str]) -> tuple[bytes, Route]:
        """What stands between time and fields where a record has those tags, and the lanes that want it."""
        return middle(stream.source, tags), self._routing.route(stream.source, tags, stream.never)

    def heads(self) -> dict[str, int]:
        """How far the lanes of events go, as of what is remembered of rules: no event below is missing in that."""
        for before in self._under_way.values():
            return dict(before)
        return {lane: self._spool.lanes[lane].head for lane in self._told_in}

    def _counters(self, name: str) -> _Counters:
        """The books of a collector, or of events."""
        counter = self._stats.counter
        return _Counters(
            counter("agent_intake_received_total", "Payloads taken from collectors.", collector=name),
            counter("agent_intake_committed_total", "Payloads made durable.", collector=name),
            counter("agent_intake_records_total", "Records stored.", collector=name),
        )

    def _book(self, done: asyncio.Future[None], name: str, counters: _Counters, count: int, taken: Taken) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        self._book_refused(name, taken.refused)
        counters.committed.add(count - sum(taken.refused.values()))
        counters.records.add(taken.stored)

    def _book_refused(self, name: str, refused: Mapping[str, int]) -> None:
        for reason, n in refused.items():
            self._stats.counter(
                "agent_intake_refused_total", "Payloads that became no record.", collector=name, reason=reason
            ).add(n)
        if "bad" in refused:
            self._say_bad(name, refused["bad"])

    def _book_events(self, done: asyncio.Future[None], taken: Taken) -> None:
        """The events of an emission are durable; they are booked as if they were payloads of a collector."""
        del self._under_way[done]
        if self._watch is None or done.cancelled() or done.exception() is not None:
            return
        for event in taken.events:
            self._watch.committed(event)
        counters = self._counters(BOOKS)
        self._book_refused(BOOKS, taken.events_refused)
        stored = len(taken.events) - sum(taken.events_refused.values())
        counters.committed.add(stored)
        counters.records.add(stored)

    def _say_bad(self, name: str, count: int) -> None:
        """One line for the first, and one an hour while there are more: garbage may come a thousand times a second."""
        now = time.monotonic()
        since, unsaid = self._said.get(name, (-math.inf, 0))
        unsaid += count
        if now - since >= SAY_AGAIN:
            log.warning("payloads refused, kept as dead letters", collector=name, count=unsaid, see="dead-letters list")
            since, unsaid = now, 0
        self._said[name] = (since, unsaid)
