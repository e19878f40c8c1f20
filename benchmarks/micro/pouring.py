"""
A far end that pours MQTT messages, in a process of its own: as many as it is told, as fast as they are taken.

It answers what a client asks on its way (CONNECT, SUBSCRIBE, PINGREQ) and nothing else, so what is measured on this
side is the client alone, never a broker's rhythm. It keeps to no window: acknowledgements are read and dropped.
"""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.connection import Connection

FIRST = 1_000_000_000  # a number that is as long as all that follow


class Kind(IntEnum):
    """What is asked: the upper half of a packet's first byte."""

    CONNECT = 1
    SUBSCRIBE = 8
    PINGREQ = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What is poured: QoS 1 has packet ids, version 5 an empty list of properties."""

    count: int
    qos: int
    version: int  # 4 is MQTT 3.1.1
    topics: int = 100
    size: int = 200

    def topic(self, number: int) -> bytes:
        """The topic of that message."""
        return b"plant/line7/d%05d/state" % (number % self.topics)

    def payload(self, number: int) -> bytes:
        """Its payload."""
        head = b'{"ts":1790000000000,"seq":%d,"v":%.2f,"pad":"' % (FIRST + number, number % 1000 / 10)
        return head + b"x" * (self.size - len(head) - 2) + b'"}'

    def packets(self) -> bytes:
        """All of them, one behind the other."""
        out: list[bytes] = []
        for number in range(self.count):
            topic = self.topic(number)
            packet_id = (number % 65535 + 1).to_bytes(2, "big") if self.qos else b""
            properties = b"\0" if self.version == 5 else b""
            body = b"".join((len(topic).to_bytes(2, "big"), topic, packet_id, properties, self.payload(number)))
            out += (bytes((0x30 | self.qos << 1,)), length(len(body)), body)
        return b"".join(out)


def length(size: int) -> bytes:
    """A remaining length as MQTT writes it: seven bits a byte."""
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class FarEnd:
    """One connection's worth of far end."""

    port: int
    _order: Connection

    def pour(self) -> None:
        """Let it begin: the client is connected and subscribed."""
        self._order.send("pour")


@contextmanager
def pouring(messages: Messages) -> Iterator[FarEnd]:
    """A far end for one client that connects to its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(listener, theirs, messages), daemon=True)
    process.start()
    port = listener.getsockname()[1]
    listener.close()
    try:
        if ours.poll(30) is False or ours.recv() != "ready":
            raise RuntimeError("the far end did not make its messages within 30 s: fewer of them, or a faster machine")
        yield FarEnd(port, ours)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _serve(listener: socket.socket, order: Connection, messages: Messages) -> None:
    packets = messages.packets()
    order.send("ready")
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Answers stand between whole packets only: nothing is answered while messages are on their way.
    writing = threading.Lock()
    threading.Thread(target=_answer, args=(client, messages, writing), daemon=True).start()
    order.recv()
    with writing:
        client.sendall(packets)
    order.recv()  # until this process is ended


def _answer(client: socket.socket, messages: Messages, writing: threading.Lock) -> None:
    """Answer every request, and drop everything else."""
    stream = client.makefile("rb")
    while first := stream.read(1):
        size = shift = 0
        while (byte := stream.read(1)[0]) & 0x80:
            size |= (byte & 0x7F) << shift
            shift += 7
        body = stream.read(size | byte << shift)
        properties = b"\0" if messages.version == 5 else b""
        answer = b""
        match first[0] >> 4:
            case Kind.CONNECT:
                answer = b"\x20" + length(2 + len(properties)) + b"\0\0" + properties
            case Kind.SUBSCRIBE:
                answer = b"\x90" + length(3 + len(properties)) + body[:2] + properties + bytes((messages.qos,))
            case Kind.PINGREQ:
                answer = b"\xd0\0"
        if answer:
            with writing:
                client.sendall(answer)
