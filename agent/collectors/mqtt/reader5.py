"""
MQTT 5: the `mqtt5` codec inside a protocol of our own. Every whole packet that stands in the buffer after a read is
taken, and the messages among them are one emission; emissions that one commit makes durable share one write of
acknowledgements. When to read is decided in pace.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mqtt5

from agent.collectors.mqtt import connecting, reasons
from agent.collectors.mqtt.pace import Pace
from agent.collectors.mqtt.wire import MAX_PACKET, QOS, Broken, Receiver, Refused, Target, Wanted, Wire, packed

BUFFER = 256 * 1024
CLOSING = 1.0  # seconds for a DISCONNECT to leave

_QOS = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)
_TOPIC_ALIAS_INVALID = mqtt5.DisconnectReasonCode.TOPIC_ALIAS_INVALID
_MALFORMED = mqtt5.DisconnectReasonCode.MALFORMED_PACKET
_PROTOCOL = mqtt5.DisconnectReasonCode.PROTOCOL_ERROR
_TOO_LARGE = mqtt5.DisconnectReasonCode.PACKET_TOO_LARGE


@asynccontextmanager
async def connect(target: Target, inbox: Receiver) -> AsyncIterator[Wire]:
    """An open connection that speaks MQTT 5."""
    loop = asyncio.get_running_loop()
    protocol = _Protocol(target, inbox, loop)
    try:
        async with asyncio.timeout(target.connect_timeout):
            context, password = await connecting.prepare(target)
            await loop.create_connection(
                lambda: protocol,
                target.host,
                target.port,
                ssl=context,
                server_hostname=None if context is None else target.host,
            )
            protocol.send(_connect_packet(target, password))
            either: list[asyncio.Future[Any]] = [protocol.accepted, protocol.closed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if protocol.closed.done():
                raise connecting.unanswered(protocol.closed.result(), target)
        yield protocol
    finally:
        await protocol.close()


def _connect_packet(target: Target, password: str) -> bytes:
    return mqtt5.ConnectPacket(
        target.client_id,
        username=target.username or None,
        password=password.encode() if password else None,
        clean_start=target.session_expiry <= 0,
        keep_alive=int(target.keepalive),
        session_expiry_interval=min(int(target.session_expiry), 0xFFFFFFFF),
        receive_max=target.receive_maximum,
        max_packet_size=target.max_packet,
    ).write()


class _Protocol(asyncio.BufferedProtocol):
    """One connection: bytes to packets, and the pace of reading."""

    def __init__(self, target: Target, inbox: Receiver, loop: asyncio.AbstractEventLoop) -> None:
        self._target = target
        self._inbox = inbox
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._closing: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(BUFFER))
        self._end = 0
        self._at = 0  # what stands before has been read
        self._messages = 0  # of this read, handed over
        self._packets: list[mqtt5.PublishPacket] = []
        self._flags: list[int] = []
        self._connected = False
        self._said = ""  # why we or the broker end this, where that is known
        self._taken_over = False
        self._pings = 0
        self._packet_id = 0
        self._subscribing: dict[int, asyncio.Future[list[int]]] = {}
        self._pace = Pace(loop, target.coalesce, target.receive_maximum)
        self.resumed = False
        self.keepalive = target.keepalive
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[Broken] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 create_connection gives nothing else
        self._transport = transport
        self._pace.begin(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._closing = None
        self._gone.set_result(None)
        self._pace.end()
        if self._connected:
            self._inbox.end()
        for future in self._subscribing.values():
            future.cancel()
        if not self.closed.done():
            end = Broken(
                self._said or "the broker closed the connection", taken_over=self._taken_over, silent=not self._said
            )
            if exc is not None and not self._said:
                end = connecting.lost(exc)
            self.closed.set_result(end)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        filled = self._end == len(self._buffer)
        if not self._connected and connecting.is_tls(bytes(self._buffer[: min(self._end, 2)])):
            self._fail(_PROTOCOL, "the broker answers with TLS")
            return
        messages = self._parse()
        if self._connected:
            self._inbox.flush()
            if self._inbox.must_wait():
                self._pace.hold()
            else:
                self._pace.after_read(messages, nbytes, at_once=filled)

    # Packets.

    def _parse(self) -> int:
        """Take every whole packet out of the buffer; how many messages there were."""
        self._at = self._messages = 0
        sound = self._walk()
        self._hand_over()
        if sound:
            at, end = self._at, self._end
            self._end = end - at
            if self._end and at:
                self._buffer[: self._end] = bytes(self._buffer[at:end])
            elif not self._end and len(self._buffer) > BUFFER:
                self._buffer = memoryview(bytearray(BUFFER))
        return self._messages

    def _walk(self) -> bool:
        """Read packets from `_at` on, as far as they go; False where the connection ends with one of them."""
        buffer, end, at = self._buffer, self._end, 0
        read, message, connected = mqtt5.read, mqtt5.PublishPacket, self._connected
        take, note = self._packets.append, self._flags.append
        while at < end:
            try:
                packet, size = read(buffer[at:end])
            except IndexError:
                # Not enough bytes: so far, or ever?
                self._at = at
                return self._is_incomplete(at)
            except ValueError as error:
                self._fail(_MALFORMED, f"the broker sent a malformed packet: {error}")
                return False
            except BaseException as panic:
                # The codec panics on text that is not UTF-8, and a panic is no Exception.
                if type(panic).__module__ != "pyo3_runtime":
                    raise
                self._fail(_MALFORMED, "the broker sent a malformed packet: text that is not UTF-8")
                return False
            if type(packet) is message and connected:
                if packet.topic_alias is not None:
                    self._fail(_TOPIC_ALIAS_INVALID, "the broker sent a topic alias, and we allow none")
                    return False
                take(packet)
                note(buffer[at])
            else:
                self._hand_over()  # what a control packet says is about the messages before it
                if not self._control(packet):
                    return False
                connected = self._connected
            at += size
        self._at = at
        return True

    def _hand_over(self) -> None:
        """The messages read so far go to the inbox, in columns: that costs half of what they would one by one."""
        packets = self._packets
        if not packets:
            return
        self._messages += len(packets)
        numbered = any(flags & QOS for flags in set(self._flags))
        self._inbox.take(
            [packet.topic for packet in packets],
            [packet.payload for packet in packets],
            [packet.packet_id or 0 for packet in packets] if numbered else [0] * len(packets),
            self._flags,
        )
        packets.clear()
        self._flags.clear()

    def _is_incomplete(self, at: int) -> bool:
        """Whether the packet at that place goes on beyond what was read; makes room for it."""
        size, shift, length = 0, 0, 1
        for byte in self._buffer[at + 1 : min(at + 5, self._end)]:
            length += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        else:
            return True
        size += length
        if size <= self._end - at:
            self._fail(_MALFORMED, "the broker sent a malformed packet: it ends too soon")
            return False
        if size > MAX_PACKET:
            self._fail(
                _TOO_LARGE, f"the broker sent a packet of {size} bytes, and we asked for {self._target.max_packet}"
            )
            return False
        if size > len(self._buffer):
            room = memoryview(bytearray(size + BUFFER))
            room[: self._end] = self._buffer[: self._end]
            self._buffer = room
        return True

    def _control(self, packet: mqtt5.Packet) -> bool:
        """Take a packet that is no message; False where the connection ends with it."""
        match packet:
            case mqtt5.ConnAckPacket() if not self._connected:
                return self._connack(packet)
            case mqtt5.DisconnectPacket():
                code = int(packet.reason_code)
                self._taken_over = code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
                self._said = f"the broker ended the connection: {self._words(code, packet.reason_str)}"
                self._close()
                return False
            case mqtt5.PubRelPacket() if self._connected:
                self._inbox.release(packet.packet_id)
            case mqtt5.PingRespPacket() if self._connected:
                self._pings = max(0, self._pings - 1)
            case mqtt5.SubAckPacket() if self._connected:
                if len(packet.reason_codes) != 1:  # as many as filters were asked for
                    self._fail(_PROTOCOL, f"the broker answered SUBSCRIBE with {len(packet.reason_codes)} codes, not 1")
                    return False
                future = self._subscribing.pop(packet.packet_id, None)
                if future is not None and not future.done():
                    future.set_result([int(code) for code in packet.reason_codes])
            case mqtt5.UnsubAckPacket() if self._connected:
                pass  # what was not subscribed is as good as unsubscribed
            case _:
                self._fail(_PROTOCOL, f"the broker sent a {type(packet).__name__} out of place")
                return False
        return True

    def _words(self, code: int, said: str | None) -> str:
        return reasons.name(code, said, password=self._target.password.reveal())

    def _connack(self, packet: mqtt5.ConnAckPacket) -> bool:
        code = int(packet.reason_code)
        if code:
            refusal = Refused(
                reasons.refusal(self._words(code, packet.reason_str), code, self._target.name),
                operator=reasons.needs_operator(code),
            )
            self.closed.set_result(refusal)
            self._close()
            return False
        self._connected = True
        self.resumed = packet.session_present
        if packet.server_keep_alive:
            self.keepalive = packet.server_keep_alive
        self._pace.longest = self.keepalive / 8  # the answer to a ping waits for the pause to end
        self._inbox.begin(self, resumed=packet.session_present)
        self.accepted.set_result(None)
        return True

    # What the rest of the collector asks for.

    @property
    def held(self) -> bool:
        return self._pace.held

    @property
    def answered(self) -> bool:
        return self._pings == 0

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def acknowledge(self, words: list[int]) -> None:
        self.send(packed(words))

    def resume(self) -> None:
        self._pace.release()

    def ping(self) -> None:
        self._pings += 1
        self.send(mqtt5.PingReqPacket().write())

    def subscribe(self, wanted: Sequence[Wanted]) -> asyncio.Future[list[int]]:
        # One packet a filter: brokers limit how many stand in one, and one bad filter must not cost the others.
        answers = []
        for each in wanted:
            self._packet_id = self._packet_id % 65_535 + 1
            handling = mqtt5.RetainHandling
            topic = mqtt5.TopicFilter(
                each.filter,
                max_qos=_QOS[each.qos],
                retain_as_published=False,  # so that the flag means "was retained when we came", as in 3.1.1
                retain_handling=handling.SEND_IF_SUBSCRIPTION_NOT_EXISTS if each.retained else handling.SEND_NEVER,
            )
            answer: asyncio.Future[list[int]] = self._loop.create_future()
            self._subscribing[self._packet_id] = answer
            answers.append(answer)
            self.send(mqtt5.SubscribePacket(self._packet_id, [topic]).write())
        return asyncio.ensure_future(_codes(answers))

    def unsubscribe(self, filters: Sequence[str]) -> None:
        for each in filters:
            self._packet_id = self._packet_id % 65_535 + 1
            self.send(mqtt5.UnsubscribePacket(self._packet_id, [each]).write())

    def abort(self, reason: str) -> None:
        self._said = reason
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection in order; the session stays."""
        if self._transport is not None:
            if self._connected:
                self.send(mqtt5.DisconnectPacket().write())
            self._close()
        if self._closing is not None:
            # What is still to be written may never leave: the far side may be gone.
            done, _ = await asyncio.wait([self._gone], timeout=CLOSING)
            if not done:
                self._closing.abort()

    def _fail(self, code: mqtt5.DisconnectReasonCode, reason: str) -> None:
        """The broker breaks the protocol: say so, and go."""
        self._said = reason
        self._end = 0
        if self._connected:
            self.send(mqtt5.DisconnectPacket(reason_code=code).write())
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._pace.end()
            self._transport.close()
            self._closing, self._transport = self._transport, None


async def _codes(answers: list[asyncio.Future[list[int]]]) -> list[int]:
    return [(await answer)[0] for answer in answers]
