"""A broker that does what a test says, packet by packet and byte by byte; its framing owes nothing to the agent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14


@dataclass(frozen=True)
class Packet:
    """What the client sent: kind, flags, and the bytes behind the fixed header."""

    kind: int
    body: bytes

    @property
    def id(self) -> int:
        return int.from_bytes(self.body[:2], "big")


def packet(head: int, body: bytes) -> bytes:
    """A packet with its length put in."""
    size, digits = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        digits += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([head]) + digits + body


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


@dataclass
class Link:
    """One connection of the client."""

    five: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    broker: Broker
    got: list[Packet] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)  # as the socket gave them
    ended: bool = False

    def publish(
        self,
        payload: bytes,
        number: int = 0,
        *,
        qos: int = 1,
        dup: bool = False,
        retain: bool = False,
        topic: str = "t/x",
    ) -> bytes:
        """A PUBLISH packet."""
        head = 0x30 | dup << 3 | qos << 1 | retain
        identity = number.to_bytes(2, "big") if qos else b""
        return packet(head, text(topic) + identity + (b"\0" if self.five else b"") + payload)

    def send(self, *packets: bytes) -> None:
        self.writer.write(b"".join(packets))

    def release(self, number: int) -> None:
        self.send(packet(0x62, number.to_bytes(2, "big")))

    def of(self, kind: int) -> list[Packet]:
        return [each for each in self.got if each.kind == kind]

    def acked(self, kind: int = PUBACK) -> list[int]:
        """The packet ids that the client has acknowledged, in that order."""
        return [each.id for each in self.of(kind)]

    def cut(self) -> None:
        """End the connection without a word."""
        self.writer.transport.abort()

    async def pump(self) -> None:
        """Take what the client sends; answer what every broker answers."""
        buffer = b""
        while chunk := await self.reader.read(65536):
            self.chunks.append(chunk)
            buffer += chunk
            while (whole := _split(buffer)) is not None:
                kind, body, buffer = whole
                self.got.append(Packet(kind, body))
                self._answer(kind, body)
        self.ended = True

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == CONNECT:
            connack = self.broker.connack()
            if connack is not None:
                present, code = connack
                self.send(packet(0x20, bytes([present, code]) + (b"\0" if self.five else b"")))
        elif kind == SUBSCRIBE:
            codes = bytes(self.broker.suback(name) for name in _filters(body, self.five))
            self.send(packet(0x90, body[:2] + (b"\0" if self.five else b"") + codes))
        elif kind == UNSUBSCRIBE:
            self.send(packet(0xB0, body[:2] + (b"\0\0" if self.five else b"")))
        elif kind == PINGREQ and self.broker.pongs:
            self.send(packet(0xD0, b""))


def _split(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    size, shift = 0, 0
    for at, byte in enumerate(buffer[1:5], 2):
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            if len(buffer) < at + size:
                return None
            return buffer[0] >> 4, buffer[at : at + size], buffer[at + size :]
    return None


def _filters(body: bytes, five: bool) -> list[str]:
    rest = body[3 + body[2] :] if five else body[2:]
    names = []
    while rest:
        size = int.from_bytes(rest[:2], "big")
        names.append(rest[2 : 2 + size].decode())
        rest = rest[3 + size :]
    return names


@dataclass
class Broker:
    """Listens, the second time on the same port; `links` are the connections so far, the newest last."""

    version: Literal["5", "3.1.1"]
    port: int = 0
    links: list[Link] = field(default_factory=list)
    # What the next CONNECT gets: session present and reason code, or None for no answer at all.
    connack: Callable[[], tuple[bool, int] | None] = lambda: (False, 0)
    suback: Callable[[str], int] = lambda name: 1
    pongs: bool = True
    receive_buffer: int | None = None  # bytes that the system takes for us
    segment: int | None = None  # bytes in one segment of TCP: few make the other side's buffer small

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Broker]:
        tasks = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = Link(self.version == "5", reader, writer, self)
            self.links.append(link)
            task = asyncio.current_task()
            tasks.add(task)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await link.pump()
            link.ended = True
            writer.close()

        listener = socket.create_server(("127.0.0.1", self.port))
        if self.receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.segment is not None:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, self.segment)
        server = await asyncio.start_server(serve, sock=listener, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in self.links:
                link.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
