"""
Targets `mqtt5` and `mqtt311`: any bytes from a broker are messages, or the end of the connection in words.

Both readers are the agent's own, over real sockets; in the place of the inbox stands who notes what they hand over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from mqtt.scripted_broker import packet, text

from agent.collectors.mqtt import reader5, reader311
from agent.collectors.mqtt.wire import Broken, OpenWire, Target, Wanted, Wire

Message = tuple[str, bytes, int, int]  # topic, payload, packet id, flags
VERSIONS: dict[str, OpenWire] = {"5": reader5.connect, "3.1.1": reader311.connect}
CONNACK = {"5": b"\x20\x03\x00\x00\x00", "3.1.1": b"\x20\x02\x00\x00"}


@dataclass
class Noted:
    """What a reader hands over, in its order."""

    messages: list[Message] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)
    wire: Wire | None = None
    ended: int = 0

    def begin(self, wire: Wire, *, resumed: bool) -> None:
        self.wire = wire

    def take(
        self, topics: Sequence[str], payloads: Sequence[bytes], packets: Sequence[int], flags: Sequence[int]
    ) -> None:
        for message in zip(topics, payloads, packets, flags, strict=True):
            self.publish(*message)

    def publish(self, topic: str, payload: bytes, packet: int, flags: int) -> None:
        assert isinstance(topic, str)
        topic.encode()
        self.messages.append((topic, bytes(payload), packet if flags & 6 else 0, flags & 0x0F))

    def release(self, packet: int) -> None:
        self.releases.append(packet)

    def forget(self, packet: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def must_wait(self) -> bool:
        return False

    def end(self) -> None:
        self.ended += 1


@dataclass
class Session:
    """What came of one connection: what was handed over, and in which words it ended."""

    messages: list[Message]
    releases: list[int]
    end: str


class Bench:
    """A broker on one port that says what it is told to, and the loop that both sides run on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.troubles: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.troubles.append(context))
        self._script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
        self._server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            assert self._script is not None
            await self._script(reader, writer)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()

    def target(self) -> Target:
        return Target(
            name="plant",
            host="127.0.0.1",
            port=self.port,
            client_id="fuzz",
            keepalive=60.0,
            session_expiry=0.0,
            receive_maximum=1000,
            max_packet=64 * 1024,
            coalesce=0.0,
            connect_timeout=5.0,
        )

    def session(self, version: str, pieces: Sequence[bytes]) -> Session:
        """What a reader makes of these pieces, sent one after the other once it is connected."""
        noted = Noted()
        self.troubles.clear()
        end = self.loop.run_until_complete(self._session(version, pieces, noted))
        assert self.troubles == [], f"raised on the loop: {self.troubles}"
        assert isinstance(end, Broken), end
        assert noted.ended <= 1
        return Session(noted.messages, noted.releases, end.reason)

    async def _session(self, version: str, pieces: Sequence[bytes], noted: Noted) -> Broken:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1024)  # CONNECT
            writer.write(CONNACK[version])
            if version == "3.1.1":
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.write_eof()
            await reader.read()

        self._script = script
        async with asyncio.timeout(10), AsyncExitStack() as stack:
            try:
                opened: Any = await stack.enter_async_context(VERSIONS[version](self.target(), noted))
            except Broken as end:
                return end
            if version == "5":
                # As the transport does, so that where the pieces end is ours to say.
                for piece in pieces:
                    _feed(opened, piece)
            return await opened.closed  # type: ignore[no-any-return]

    def asked(self, version: str, body: bytes) -> list[int] | str:
        """What comes of a SUBSCRIBE for one filter, answered with this behind the packet id: codes, or why not."""
        self.troubles.clear()
        found = self.loop.run_until_complete(self._asked(version, body))
        assert self.troubles == [], f"raised on the loop: {self.troubles}"
        return found

    async def _asked(self, version: str, body: bytes) -> list[int] | str:
        settled = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1024)  # CONNECT
            writer.write(CONNACK[version])
            asked = await reader.read(1024)
            writer.write(packet(0x90, asked[2:4] + body))
            with suppress(TimeoutError):  # an answer that is none: then the connection ends
                await asyncio.wait_for(settled.wait(), 0.03)
            writer.write_eof()
            await reader.read()

        self._script = script
        async with asyncio.timeout(10), VERSIONS[version](self.target(), Noted()) as opened:
            answer = opened.subscribe([Wanted(filter="t/#", qos=1, retained=False)])
            await asyncio.wait([answer, opened.closed], return_when=asyncio.FIRST_COMPLETED)
            settled.set()
            try:
                codes = await answer
            except Broken as end:
                return end.reason
            except asyncio.CancelledError:
                return opened.closed.result().reason
            assert len(codes) == 1
            return codes


def _feed(protocol: Any, piece: bytes) -> None:
    while piece and not protocol.closed.done() and protocol._transport is not None:
        room = protocol.get_buffer(-1)
        assert len(room), "no room to read into"
        size = min(len(room), len(piece))
        room[:size] = piece[:size]
        protocol.buffer_updated(size)
        piece = piece[size:]


_bench: list[Bench] = []


def bench() -> Bench:
    """One for the process: its port and its loop serve every example."""
    if not _bench:
        _bench.append(Bench())
    return _bench[0]


def _cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The first two bytes say where the rest is cut, and into how large pieces."""
    rest = data[2:]
    size = 1 + data[0] % 64 if data[0] else len(rest) or 1
    offset = data[1] % size
    starts = range(-offset, len(rest), size)
    return rest, [rest[max(0, start) : start + size] for start in starts]


def mqtt5(data: bytes) -> None:
    """However the bytes are cut, the reader hands over the same and ends in the same words."""
    if len(data) > 2:
        whole, pieces = _cut(data)
        _same("5", whole, pieces)


def mqtt311(data: bytes) -> None:
    """The same for the other reader."""
    if len(data) > 2:
        whole, pieces = _cut(data)
        _same("3.1.1", whole, pieces)


def _same(version: str, whole: bytes, pieces: list[bytes]) -> None:
    first, second = bench().session(version, [whole]), bench().session(version, pieces)
    assert first.messages == second.messages, version
    assert first.releases == second.releases
    if version == "5":
        assert first.end == second.end


def publish(version: str, message: Message) -> bytes:
    """A PUBLISH packet, made by code that owes nothing to either reader."""
    topic, payload, number, flags = message
    identity = number.to_bytes(2, "big") if flags & 6 else b""
    return packet(0x30 | flags, text(topic) + identity + (b"\0" if version == "5" else b"") + payload)


def seeds(version: str = "5") -> list[bytes]:
    """What a broker sends, in order, and a few things that it should not."""
    five = version == "5"
    nothing = b"\0" if five else b""
    plain = [("t/x", b'{"v":1}', 0, 0), ("t/y", b"a" * 200, 7, 2), ("t/\u00e9", b"", 8, 0x0B), ("t/x", b"c", 9, 4)]
    packets = [publish(version, each) for each in plain]
    packets += [
        packet(0x62, b"\0\x09"),
        packet(0xD0, b""),
        packet(0x90, b"\0\x01" + nothing + b"\1"),
        packet(0xB0, b"\0\x01" + nothing + (b"\0" if five else b"")),
        packet(0x20, b"\0\0" + nothing),
        packet(0x40, b"\0\x01"),
        packet(0xE0, b"\x8e\0" if five else b""),
        packet(0x30, b"\0\x03t/x" + nothing + b"\xff"),
        packet(0x30, b"\0\x02\xff\xfe" + nothing),
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\x7f",
    ]
    if five:
        packets += [
            packet(0x30, b"\0\x01a\x03\x23\0\x01x"),  # a topic alias
            packet(0x30, b"\0\x01a\x07\x26\0\x01k\0\x01v" + b"x"),  # a property of the user
            packet(0xE0, b"\x87\x07\x1f\0\x04over"),  # why it ends
            packet(0x90, b"\0\x01\0"),  # an answer for nothing
        ]
    streams = [b"".join(packets[:6]), b"".join(packets[:4] * 5), *packets]
    return [b"\x00\x00" + each for each in streams] + [b"\x05\x03" + each for each in streams]
