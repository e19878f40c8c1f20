"""
A line between the agent and its broker that knows packets.

What it carries can be lost with the connection, changed, or have something put before it; and it can fall silent, as
where a firewall has forgotten a connection: nothing passes, and nobody is told.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK = 2, 3, 4, 5, 6, 7, 9
FROM_BROKER = frozenset({CONNACK, PUBLISH, PUBREL, SUBACK})  # where the agent is the one that subscribes
DUP = 0x08


class Cut(bytes):
    """These bytes still pass, then the line breaks."""


# What passes in place of a packet: `down`, from the broker.
Rule = Callable[[bytes, bool], bytes]


@dataclass
class Once:
    """Does something to the packet of that number (from 1) among those of its kind, and never again."""

    kind: int
    number: int
    deed: Callable[[bytes], bytes]
    seen: int = 0

    @property
    def done(self) -> bool:
        return self.seen >= self.number

    def __call__(self, packet: bytes, down: bool) -> bytes:
        if packet[0] >> 4 != self.kind or down != (self.kind in FROM_BROKER) or self.done:
            return packet
        self.seen += 1
        return self.deed(packet) if self.done else packet


def lost(packet: bytes) -> bytes:
    """It never arrives: the line breaks with it."""
    return Cut(b"")


def short_keepalive(packet: bytes, down: bool) -> bytes:
    """A broker of MQTT 5 that wants a sign of life every second: its CONNACK has Server Keep Alive besides."""
    if packet[0] >> 4 != CONNACK or not down:
        return packet
    flags, properties = packet[2:4], packet[5:] + b"\x13\x00\x01"
    return bytes([packet[0], 3 + len(properties)]) + flags + bytes([len(properties)]) + properties


@dataclass(eq=False)
class _Link:
    """One connection, and its other half."""

    client: socket.socket
    broker: socket.socket
    silent: bool = False

    def end(self) -> None:
        for each in (self.client, self.broker):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Line:
    """Carries MQTT between whoever connects to `port` and the broker. Every packet goes through `rules`, in order."""

    def __init__(self, broker_port: int, *rules: Rule) -> None:
        self.rules = list(rules)
        self.connections = 0
        self.publishes = 0  # that the broker sent, the next of them as they were
        self.duplicates = 0  # of these, those with DUP
        self.ended = 0  # messages whose last acknowledgement the agent sent, and the line passed on
        self._broker_port = broker_port
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """The connections that stand now end."""
        for link in self._links:
            link.end()

    def silence(self) -> None:
        """The connections that stand now pass nothing any more, and stay open."""
        for link in self._links:
            link.silent = True

    def close(self) -> None:
        """No longer."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the accept goes on
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", self._broker_port))
                except OSError:
                    client.close()  # no broker: as if there were no line
                    continue
                link = _Link(client, broker)
                self._links.append(link)
                self.connections += 1
                for source, target in ((broker, client), (client, broker)):
                    threading.Thread(target=self._carry, args=(link, source, target), daemon=True).start()

    def _carry(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                packets, rest = _whole(rest + data)
                passing, cut = self._through(packets, down=source is link.broker)
                if link.silent:
                    return
                target.sendall(passing)
                if cut:
                    break
        if not link.silent:
            link.end()

    def _through(self, packets: list[bytes], *, down: bool) -> tuple[bytes, bool]:
        """What of these passes, and whether the line breaks then."""
        out = bytearray()
        with self._lock:
            for packet in packets:
                if down and packet[0] >> 4 == PUBLISH:
                    self.publishes += 1
                    self.duplicates += bool(packet[0] & DUP)
                passing = packet
                for rule in self.rules:
                    passing = rule(packet, down)
                    if passing is not packet:
                        break
                self.ended += not down and packet[0] >> 4 in (PUBACK, PUBCOMP) and passing == packet
                out += passing
                if isinstance(passing, Cut):
                    return bytes(out), True
        return bytes(out), False


def _whole(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole packets in `data`, and what is left."""
    packets, at = [], 0
    while (end := _end(data, at)) is not None:
        packets.append(data[at:end])
        at = end
    return packets, data[at:]


def _end(data: bytes, at: int) -> int | None:
    """Where the packet that begins there ends, if it does."""
    size, shift = 0, 0
    for place in range(at + 1, min(at + 5, len(data))):
        size |= (data[place] & 0x7F) << shift
        shift += 7
        if not data[place] & 0x80:
            return place + 1 + size if place + 1 + size <= len(data) else None
    return None


@contextlib.contextmanager
def line(broker_port: int, *rules: Rule) -> Iterator[Line]:
    """Run one until left."""
    running = Line(broker_port, *rules)
    try:
        yield running
    finally:
        running.close()
