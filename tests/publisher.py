"""A publisher that keeps its own log: which messages the broker has acknowledged. Nothing of the agent is in it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path


def _packet(head: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([head]) + length + body


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


class Publisher:
    """
    MQTT 3.1.1 at QoS 1 over a plain socket, a window of unacknowledged messages at a time.

    `acknowledged` holds the numbers of the messages that the broker has taken: what it promises
    to deliver, and so what must arrive.
    """

    def __init__(self, port: int, client_id: str = "publisher", *, window: int = 500, log: Path | None = None) -> None:
        self.acknowledged: set[int] = set()
        self._window = window
        self._pending: dict[int, int] = {}
        self._buffer = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        try:
            self._socket.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text(client_id)))
            answer = self._read_exactly(4)
            assert answer[:2] == b"\x20\x02", answer
            assert answer[3] == 0, f"refused with {answer[3]}"
        except BaseException:
            self._socket.close()
            raise
        self._log = log.open("a") if log else None  # last, or one that is not let in would leave it open

    def publish(
        self,
        numbers: range,
        payload: Callable[[int], bytes],
        topic: Callable[[int], str] = lambda n: f"plant/line{n % 7}/dev{n % 100:04d}/state",
        *,
        rate: float | None = None,
    ) -> None:
        """Publish one message a number and return once the broker has acknowledged them all."""
        started = time.monotonic()
        chunk: list[bytes] = []
        for sent, number in enumerate(numbers):
            packet_id = number % 65535 + 1
            self._pending[packet_id] = number
            chunk.append(_packet(0x32, _text(topic(number)) + packet_id.to_bytes(2, "big") + payload(number)))
            if len(chunk) >= 50 or rate is not None:
                self._socket.sendall(b"".join(chunk))
                chunk.clear()
                while len(self._pending) >= self._window:
                    self._take()
            if rate is not None:
                # Keep to the rate by reading acknowledgements until the next message is due.
                due = started + (sent + 1) / rate
                while (left := due - time.monotonic()) > 0:
                    self._take(left)
        self._socket.sendall(b"".join(chunk))
        while self._pending:
            self._take()

    def _take(self, wait: float = 20.0) -> None:
        """Read what acknowledgements have come, waiting that long for the first."""
        self._socket.settimeout(wait)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            if wait >= 20:
                raise
            return
        assert data, "the broker closed the connection"
        self._buffer += data
        while len(self._buffer) >= 4:
            assert self._buffer[:2] == b"\x40\x02", self._buffer[:4]
            number = self._pending.pop(int.from_bytes(self._buffer[2:4], "big"))
            self.acknowledged.add(number)
            if self._log:
                self._log.write(f"{number}\n")
            self._buffer = self._buffer[4:]

    def _read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            assert more, "the broker closed the connection"
            data += more
        return data

    def abandon(self) -> None:
        """The broker has gone: what is written down stays, no goodbye."""
        self._socket.close()
        if self._log:
            self._log.close()

    @property
    def unacknowledged(self) -> int:
        """How many were sent, and the broker has not said that it has them."""
        return len(self._pending)

    def close(self) -> None:
        """Say goodbye."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()
        if self._log:
            self._log.close()


def state_payload(number: int, pad: int = 120) -> bytes:
    """The JSON of one simulated message; its `uid` names it at the far side."""
    return b'{"uid":"m-%d","temperature":%d.%d,"ok":true,"pad":"%s"}' % (
        number,
        number % 40,
        number % 10,
        b"x" * pad,
    )
