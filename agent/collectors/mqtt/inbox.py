"""
What arrives over one session becomes emissions; what is durable becomes acknowledgements.

    reader ──take()*──────flush()──▸ chunk ──emit──▸ intake, spool
                                      │               │ future done: durable
    broker ◂──one write of all acks── settle ◂────────┘

Chunks settle in the order in which they came, whatever order their futures are done in, because MQTT wants
acknowledgements in the order of the messages (rumqttd drops who does otherwise), and because a redelivery
that finds its first copy still on the way to the disk may then simply stand in line behind it.

**Redelivery.** A message is known again by packet id and hash, but only if the broker says DUP and has kept
the session. The table holds what was stored and may not have reached the broker as acknowledged: out of the
spool after a crash, out of the chunks after a lost connection. It is let go once a ping, sent after those
acknowledgements, is answered. In a kept session that takes two pings: ahead of its first answer comes all that
the broker sends again, and only what was read can be acknowledged before the second ping. What the table cannot
tell apart is a redelivery from another message with the same bytes on the same topic under a packet id that the
broker used twice between two pings.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Sequence
from typing import cast

import structlog

from agent.collectors.mqtt.checksum import adler32, crc32
from agent.collectors.mqtt.telling import REMIND
from agent.collectors.mqtt.topics import Routes
from agent.collectors.mqtt.wire import DUP, FLAGS, PUBACK, PUBCOMP, PUBREC, QOS, QOS1, QOS2, RETAIN, Wire
from agent.ports import Emit, Redeliveries
from agent.record import Emission, Stream
from agent.stats import Counter, Stats

log = structlog.get_logger()

# Taken and not yet durable: beyond this we stop reading until the disk has caught up.
# A larger bound buys nothing: what waits longer has left the processor's cache by the time it is written.
MAX_OUTSTANDING = 1024 * 1024
# What one message costs in memory beside its payload: the objects around it, and its record in the spool's queue.
OVERHEAD = 200
# Flags of messages that need no look at each: all QoS 0, or all QoS 1, neither sent again nor retained.
_PLAIN = ({0}, {QOS1})


class _Chunk:
    """What was read at once, on its way to the disk."""

    # Packet ids and hashes are kept until the broker has proven that it has the acknowledgements: as arrays they
    # take a tenth of the room.
    __slots__ = ("acks", "durable", "generation", "hashes", "packets", "serial", "size")

    def __init__(
        self, serial: int, generation: int, acks: list[int], packets: array[int], hashes: array[int], size: int
    ) -> None:
        self.serial = serial  # the first is 1
        self.generation = generation  # the connection it came over
        self.acks = acks
        self.packets = packets
        self.hashes = hashes
        self.size = size
        self.durable = False


class Inbox:
    """The receiving side of one session; it outlives the connections."""

    def __init__(
        self, name: str, emit: Emit, routes: Routes, stats: Stats, redeliveries: Redeliveries | None, *, expect: bool
    ) -> None:
        """`redeliveries` None: packet ids are not stored; `expect`: the broker is asked to keep the session."""
        self.name = name
        self._emit = emit
        self._routes = routes
        self._redeliveries = redeliveries
        self._expect = expect
        self._redelivered = stats.counter(
            "agent_mqtt_redelivered_total",
            "Messages that the broker sent again and that were not stored again.",
            collector=name,
        )
        self._retained = _ignored(stats, name, "retained")
        self._unmatched = _ignored(stats, name, "unmatched")
        self._lost = stats.counter(
            "agent_mqtt_sessions_lost_total", "Sessions that the broker was to keep and did not.", collector=name
        )
        self._wire: Wire | None = None
        self._generation = 0
        self._settling = False
        self._queue: deque[_Chunk] = deque()  # not durable yet, or waiting behind such a one
        self._acked: deque[_Chunk] = deque()  # acknowledged, not known to have arrived
        self._emitted = self._settled = 0  # serial of the last such chunk
        self._known: dict[int, int] | None = None  # packet id -> hash; None: the spool was not asked yet
        self._received: dict[int, int] = {}  # QoS 2: taken and not released
        self._caught_up = True  # all that the broker sends again over this connection has been read
        self._mark: tuple[int, object] | None = None
        self._pinged: tuple[int, object] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._waiting = False  # the reader waits for room
        self._losses, self._losses_said = 0, float("-inf")  # of sessions: since that was last said, and when
        self.outstanding = 0  # bytes
        # The chunk that is being read.
        self._acks: list[int] = []
        self._completed: list[int] = []
        self._streams: list[Stream] = []
        self._payloads: list[bytes] = []
        self._packets, self._hashes = array("H"), array("Q")  # up to the last message of QoS 1 or 2
        self._size = 0

    def must_wait(self) -> bool:
        """Whether to stop reading until `Wire.resume` is called."""
        # Who was told to stop is told so until then: a read that was under way may ask again when there is some room.
        self._waiting = self._waiting or self.outstanding >= MAX_OUTSTANDING
        return self._waiting

    @property
    def unconfirmed(self) -> bool:
        """Whether there are acknowledgements that the broker may not have seen."""
        return bool(self._acked or self._known)

    def begin(self, wire: Wire, *, resumed: bool) -> None:
        """A connection is open; nothing of it was read yet."""
        first = self._known is None
        known = self._known if self._known is not None else {}
        if first and self._redeliveries is not None:
            known.update(self._redeliveries.unacked())
        had_session = self._generation > 0 or bool(known)
        self._generation += 1
        self._wire = wire
        self._mark = self._pinged = None
        self._waiting = False
        if resumed:
            for chunk in (*self._acked, *self._queue):
                known.update(zip(chunk.packets, chunk.hashes, strict=True))
            known.pop(0, None)
        else:
            known.clear()
            self._received.clear()
            if self._redeliveries is not None:
                self._redeliveries.confirm(self._redeliveries.checkpoint())
            if had_session and self._expect:
                self._lost.add()
                self._say_lost()
        self._acked.clear()
        self._known = known
        self._caught_up = not known

    def _say_lost(self) -> None:
        """Say that a session is lost; again after an hour, with the number since."""
        now = asyncio.get_running_loop().time()
        self._losses += 1
        if now - self._losses_said >= REMIND:
            log.error(
                "mqtt session lost",
                collector=self.name,
                times=self._losses,
                meaning="what the broker had queued is gone",
            )
            self._losses, self._losses_said = 0, now

    def take(
        self, topics: Sequence[str], payloads: Sequence[bytes], packets: Sequence[int], flags: Sequence[int]
    ) -> None:
        """Messages have come: `publish` for each of them."""
        kinds = {each & FLAGS for each in set(flags)}
        routes = self._routes.all(topics) if kinds in _PLAIN else []
        streams = [route.stream for route in routes]
        if not streams or None in streams:
            for message in zip(topics, payloads, packets, flags, strict=True):
                self.publish(*message)
            return
        if kinds == {QOS1}:
            self._acks += [PUBACK | packet for packet in packets]
            hashes = [
                crc32(payload, route.seed) << 32 | adler32(payload)
                for route, payload in zip(routes, payloads, strict=True)
            ]
            self._claim(packets, hashes)
        self._streams += cast("list[Stream]", streams)
        self._payloads += payloads
        self._size += sum(map(len, payloads)) + OVERHEAD * len(payloads)

    def publish(self, topic: str, payload: bytes, packet: int, flags: int) -> None:
        """A message has come; `flags` are the low bits of its first byte."""
        route = self._routes.find(topic)
        mark = 0
        if flags & QOS:
            self._acks.append((PUBACK if flags & QOS1 else PUBREC) | packet)
            mark = crc32(payload, route.seed) << 32 | adler32(payload)
            if (flags & DUP or flags & QOS2) and self._is_known(packet, mark, flags):
                self._redelivered.add()
                return
        if route.stream is None:
            self._unmatched.add()
        elif flags & RETAIN and not route.retained:
            self._retained.add()
        else:
            if flags & QOS:
                self._claim((packet,), (mark,))
            self._streams.append(route.stream)
            self._payloads.append(payload)
            self._size += len(payload) + OVERHEAD

    def _claim(self, packets: Sequence[int], hashes: Sequence[int]) -> None:
        """The messages taken next have these packet ids; those before them that are not noted have none."""
        self._align()
        self._packets.extend(packets)
        self._hashes.extend(hashes)

    def _align(self) -> None:
        missing = len(self._streams) - len(self._packets)
        self._packets.frombytes(bytes(missing * self._packets.itemsize))
        self._hashes.frombytes(bytes(missing * self._hashes.itemsize))

    def _is_known(self, packet: int, mark: int, flags: int) -> bool:
        if flags & QOS2:
            # Until it is released, the same id means the same message, DUP or not. Should the broker break
            # that rule, the hash tells, and we take the message rather than lose it.
            if self._received.get(packet) == mark:
                return True
            self._received[packet] = mark
        return bool(flags & DUP and self._known and self._known.get(packet) == mark)

    def forget(self, packet: int) -> None:
        """The broker will not send this QoS 2 message again: the next one of that id is another."""
        self._received.pop(packet, None)

    def release(self, packet: int) -> None:
        """A QoS 2 message is released: the broker has our PUBREC, and wants to hear that we forget it."""
        self.forget(packet)
        self._completed.append(PUBCOMP | packet)

    def flush(self) -> None:
        """Nothing more to read for now: hand over what has come."""
        if self._completed and self._wire is not None:
            completed, self._completed = self._completed, []
            self._wire.acknowledge(completed)
        if not self._acks and not self._streams:
            return
        self._emitted += 1
        if self._packets:
            self._align()
        chunk = _Chunk(self._emitted, self._generation, self._acks, self._packets, self._hashes, self._size)
        streams, payloads = self._streams, self._payloads
        self._acks, self._packets, self._hashes, self._size = [], array("H"), array("Q"), 0
        self._streams, self._payloads = [], []
        self.outstanding += chunk.size
        self._queue.append(chunk)
        if not streams:
            chunk.durable = True
            self._settle_soon()
            return
        columns = bool(chunk.packets) and self._redeliveries is not None
        emission = Emission(
            self.name,
            streams,
            payloads,
            time.time_ns() // 1_000_000,
            chunk.packets if columns else None,
            chunk.hashes if columns else None,
        )
        try:
            future = self._emit(emission)
        except Exception as bug:  # noqa: BLE001 whatever it is: not stored, so not acknowledged, and said in `_committed`
            future = asyncio.get_running_loop().create_future()
            future.set_exception(bug)
        future.add_done_callback(lambda done: self._committed(chunk, done))

    def _committed(self, chunk: _Chunk, done: asyncio.Future[None]) -> None:
        chunk.durable = True
        bug = None if done.cancelled() else done.exception()
        if done.cancelled() or bug is not None:
            # Not stored, so not acknowledged either: the broker sends it again over the next connection.
            for packet, digest in zip(chunk.packets, chunk.hashes, strict=True):
                if self._received.get(packet) == digest:
                    del self._received[packet]
            chunk.acks, chunk.packets, chunk.hashes = [], array("H"), array("Q")
        if bug is not None and self._wire is not None:
            log.error("mqtt messages not stored", collector=self.name, reason=repr(bug))
            self._wire.abort("what was read could not be stored")
        self._settle_soon()

    def _settle_soon(self) -> None:
        # One commit makes several chunks durable at the same moment: their acknowledgements share one write.
        if not self._settling:
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = False
        acks: list[int] = []
        while self._queue and self._queue[0].durable:
            chunk = self._queue.popleft()
            self._settled = chunk.serial
            self.outstanding -= chunk.size
            # Of a former connection: the broker sends these again over the new one, and finds them in `_known`.
            if chunk.generation == self._generation and chunk.acks:
                acks += chunk.acks
                chunk.acks = []
                self._acked.append(chunk)
        if not self._queue and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._wire is None:
            return
        if acks:
            self._wire.acknowledge(acks)
        if self._waiting and self.outstanding < MAX_OUTSTANDING // 2:
            self._waiting = False
            self._wire.resume()

    def mark(self) -> bool:
        """
        Get ready for a ping; True once its answer will confirm something.

        A checkpoint names what is durable, the answer to a ping proves what was acknowledged before it: so a
        checkpoint is good for a ping only once all that was emitted before it has settled. What was durable
        before this connection is acknowledged when it comes again: so no checkpoint before that is read.
        """
        if not self._caught_up:
            return True
        if self._mark is None:
            checkpoint = None if self._redeliveries is None else self._redeliveries.checkpoint()
            self._mark = (self._emitted, checkpoint)
        return self._settled >= self._mark[0]

    def pinged(self) -> None:
        """A ping was sent."""
        if self._mark is not None and self._settled >= self._mark[0]:
            self._pinged, self._mark = self._mark, None

    def answered(self) -> None:
        """Every ping sent was answered: the broker has taken what was acknowledged before."""
        self._caught_up = True
        if self._pinged is None:
            return
        serial, checkpoint = self._pinged
        self._pinged = None
        while self._acked and self._acked[0].serial <= serial:
            self._acked.popleft()
        if self._known:
            self._known.clear()
        if self._redeliveries is not None:
            self._redeliveries.confirm(checkpoint)

    def end(self) -> None:
        """The connection is gone."""
        self._wire = None
        self._completed.clear()
        # What was read together with the end is stored, too, and must be known when it comes again.
        self.flush()

    async def drain(self, timeout: float) -> None:
        """Wait until everything read is durable and acknowledged, or the time is up."""
        if self._queue:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=timeout)


def _ignored(stats: Stats, name: str, reason: str) -> Counter:
    return stats.counter("agent_mqtt_ignored_total", "Messages that nobody asked for.", collector=name, reason=reason)
