"""
A broker that comes and goes, in simulated time: on the agent's own loop, because the clocks of a real one are real.

It speaks MQTT 5 over sockets, by the framing of tests/mqtt/scripted_broker.py, and keeps sessions: what was not
acknowledged comes again with DUP in the next connection, what was never sent comes after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from dataclasses import dataclass, field

from mqtt.scripted_broker import CONNECT, PUBACK, SUBSCRIBE, Broker, Link, packet

WINDOW = 1000  # messages on their way to the client


@dataclass
class Plant:
    """One broker. With one client it has a session, unless it `forgets`; without sessions it is for any number."""

    forgets: bool = False
    connects: list[float] = field(default_factory=list)  # when, on the loop's clock
    acknowledged: int = 0
    _broker: Broker = field(default_factory=lambda: Broker("5"))
    _server: asyncio.Server | None = None
    _links: list[_Session] = field(default_factory=list)
    _waiting: deque[bytes] = field(default_factory=deque)
    _under_way: dict[int, bytes] = field(default_factory=dict)
    _last: int = 0
    _known: bool = False  # there is a session

    @property
    def url(self) -> str:
        """Where it listens, now or when it is open again."""
        return self._broker.url

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._waiting) + len(self._under_way)

    async def open(self) -> None:
        """Listen, on the same port every time."""
        listener = socket.create_server(("127.0.0.1", self._broker.port), backlog=2048)
        self._broker.port = listener.getsockname()[1]
        try:
            self._server = await asyncio.start_server(self._serve, sock=listener)
        except BaseException:
            listener.close()
            raise

    def close(self) -> None:
        """Listen no more, and cut every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Cut every connection without a word."""
        for link in list(self._links):
            link.cut()

    def put(self, payloads: list[bytes]) -> None:
        """Messages for the client, now or when it is there."""
        self._waiting.extend(payloads)
        for link in self._links:
            if link.is_subscribed:
                self._send(link)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Session(five=True, reader=reader, writer=writer, broker=self._broker, plant=self)
        self._links.append(link)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await link.pump()
        self._links.remove(link)
        writer.transport.abort()

    def _connected(self, link: _Session) -> None:
        self.connects.append(asyncio.get_running_loop().time())
        link.send(packet(0x20, bytes([self._known, 0, 0])))
        if self._known:
            link.is_subscribed = True
            link.send(*(link.publish(payload, number, dup=True) for number, payload in self._under_way.items()))
            self._send(link)

    def _subscribed(self, link: _Session) -> None:
        link.is_subscribed = True
        self._known = not self.forgets
        self._send(link)

    def _acked(self, number: int) -> None:
        if self._under_way.pop(number, None) is not None:
            self.acknowledged += 1

    def _send(self, link: _Session) -> None:
        packets = []
        while self._waiting and len(self._under_way) < WINDOW:
            self._last = self._last % 65535 + 1
            payload = self._under_way[self._last] = self._waiting.popleft()
            packets.append(link.publish(payload, self._last))
        if packets:
            link.send(*packets)


@dataclass(eq=False)
class _Session(Link):
    """One connection of the client. What was answered is not kept: a day has millions of packets."""

    plant: Plant = field(kw_only=True)
    is_subscribed: bool = False

    def _answer(self, kind: int, body: bytes) -> None:
        self.got.clear()
        self.chunks.clear()
        if kind == PUBACK:
            self.plant._acked(int.from_bytes(body[:2], "big"))
            self.plant._send(self)
        elif kind == CONNECT:
            self.plant._connected(self)
        else:
            super()._answer(kind, body)
            if kind == SUBSCRIBE:
                self.plant._subscribed(self)
