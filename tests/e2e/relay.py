"""A slow line between agent and broker: it can hold acknowledgements back, and it counts what comes again."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

_PUBLISH, _DUP = 0x30, 0x08


class Relay:
    """
    Carries MQTT between whoever connects to `port` and the broker.

    What the client sends arrives `delay` seconds later; where the client dies first, it never arrives,
    as with a line that breaks together with the machine. `publishes` and `duplicates` count what the
    broker sent, the latter those with the DUP flag.
    """

    def __init__(self, broker_port: int, delay: float) -> None:
        self.delay = delay
        self.publishes = 0
        self.duplicates = 0
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def close(self) -> None:
        """No longer; every connection ends."""
        for each in (self._listener, *self._open):
            _end(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
                self._open += [client, broker]
                for work in (self._down, self._up):
                    threading.Thread(target=work, args=(broker, client), daemon=True).start()

    def _down(self, broker: socket.socket, client: socket.socket) -> None:
        """From the broker to the client, counted on the way."""
        buffer = b""
        with contextlib.suppress(OSError):
            while data := broker.recv(1 << 16):
                client.sendall(data)
                buffer = self._count(buffer + data)
        _end(client)
        _end(broker)

    def _up(self, broker: socket.socket, client: socket.socket) -> None:
        """From the client to the broker, late."""
        waiting: deque[tuple[float, bytes]] = deque()
        with contextlib.suppress(OSError, ValueError):  # the latter: closed from the other side
            while True:
                wait = 0.05 if not waiting else max(0.0, min(0.05, waiting[0][0] + self.delay - time.monotonic()))
                readable, _, _ = select.select([client], [], [], wait)
                if readable:
                    data = client.recv(1 << 16)
                    if not data:
                        break
                    waiting.append((time.monotonic(), data))
                while waiting and waiting[0][0] + self.delay <= time.monotonic():
                    broker.sendall(waiting.popleft()[1])
        _end(client)
        _end(broker)

    def _count(self, data: bytes) -> bytes:
        """Count the whole packets in `data`; give the rest."""
        at = 0
        while True:
            length, shift, place = 0, 0, at + 1
            while True:
                if place >= len(data):
                    return data[at:]
                digit = data[place]
                length |= (digit & 0x7F) << shift
                shift += 7
                place += 1
                if digit < 0x80:
                    break
            if place + length > len(data):
                return data[at:]
            if data[at] & 0xF0 == _PUBLISH:
                self.publishes += 1
                self.duplicates += bool(data[at] & _DUP)
            at = place + length


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextlib.contextmanager
def relay(broker_port: int, delay: float = 0.0) -> Iterator[Relay]:
    """Run one until left."""
    running = Relay(broker_port, delay)
    try:
        yield running
    finally:
        running.close()
