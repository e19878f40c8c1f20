"""
The load: a publisher on a plain socket, MQTT 3.1.1, in a process of its own.

Without a rate all packets are built before the first goes, so that the publisher is no bottleneck. With one,
what is due goes every millisecond, built at that moment. At QoS 1 at most `window` messages are unanswered;
Mosquitto acknowledges in the order of arrival, so bytes are counted and only the last packet id is looked at.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from benchmarks.programs import ROOT, Failed, module

HANG_SECONDS = 60.0  # a broker that takes or acknowledges nothing for so long is broken
TICK = 0.001
CHUNK = 64  # packets in one write where nothing paces them: 0.4 ms at 150,000 a second
PACKET_IDS = 65535

Payload = Literal["json", "collectd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is published: so many messages, at that rate a second (0: as fast as they go)."""

    count: int
    qos: Literal[0, 1] = 0
    rate: float = 0
    window: int = 1000
    topics: int = 100
    size: int = 200
    tls: bool = False
    payload: Payload = "json"  # collectd takes a number alone, and topics of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of it: `times` has the moment in ns at which each number was sent."""

    acknowledged: int
    seconds: float
    cpu_s: float
    times: array[int]


def prefix(payload: Payload) -> str:
    """What the topics of such a load begin with."""
    return "collectd" if payload == "collectd" else "plant/line7"


def publish(load: Load, port: int, folder: Path, ca: Path | None = None) -> Sent:
    """Publish it all from another process, and return when it is done. Raises Failed."""
    order = {"load": asdict(load), "port": port, "times": str(folder / "sent.bin"), "ca": str(ca) if ca else None}
    done = subprocess.run(
        module("benchmarks.load", json.dumps(order)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"the publisher ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    times = array("Q")
    times.frombytes((folder / "sent.bin").read_bytes())
    return Sent(times=times, **json.loads(done.stdout))


def packets(load: Load) -> Callable[[int, int], list[bytes]]:
    """What builds the packets of a range of numbers."""
    topics = [_text(_topic(load, number)) for number in range(load.topics)]
    head = 0x32 if load.qos else 0x30
    pad = b"x" * load.size

    def build(start: int, stop: int) -> list[bytes]:
        now = time.time_ns() // 1_000_000
        made = []
        for number in range(start, stop):
            if load.payload == "json":
                text = b'{"ts":%d,"seq":%d,"v":%d.%d,"pad":"' % (now, number, number % 40, number % 10)
                text += pad[: load.size - len(text) - 2] + b'"}'
            else:
                text = b"%d:%d" % (now // 1000, number)
            topic = topics[number % load.topics]
            identifier = (number % PACKET_IDS + 1).to_bytes(2, "big") if load.qos else b""
            body_size = len(topic) + len(identifier) + len(text)
            made.append(b"%c%b%b%b%b" % (head, _length(body_size), topic, identifier, text))
        return made

    return build


class Publisher:
    """A connection to the broker, and what has gone and come over it."""

    def __init__(self, load: Load, port: int, ca: Path | None) -> None:
        self._load = load
        self._window = load.window if load.qos else sys.maxsize  # QoS 0 has no answers to wait for
        self._socket = _connected(port, ca)
        self._cut = 0  # bytes of an acknowledgement that has come in part
        self.sent = 0
        self.acknowledged = 0
        self.times = array("Q", bytes(8 * load.count))
        self._packet = packets(load)

    def unpaced(self) -> None:
        """All of it as fast as the broker takes it."""
        count = self._load.count
        made = self._packet(0, count)
        while self.sent < count:
            self._send(made[self.sent : self.sent + min(CHUNK, self._room())])
            while not self._room():
                self._receive(HANG_SECONDS)
            self._receive(0)

    def paced(self) -> None:
        """What is due, every millisecond, or every message where they are further apart."""
        load = self._load
        tick = max(TICK, 1 / load.rate)
        start = due_at = time.perf_counter()
        while self.sent < load.count:
            now = time.perf_counter()
            if now < due_at:
                time.sleep(due_at - now)  # acknowledgements can wait: a wake-up each would cost more than all else
                continue
            self._receive(0)
            due = min(load.count, int((now - start) * load.rate) + 1)
            self._send(self._packet(self.sent, min(due, self.sent + self._room())))
            if not self._room():
                self._receive(HANG_SECONDS)
            due_at = start + (int((now - start) / tick) + 1) * tick

    def finish(self) -> None:
        """Wait for what is not acknowledged yet; the broker has read all when the connection has ended."""
        while self._load.qos and self.acknowledged < self.sent:
            self._receive(HANG_SECONDS)
        self._write(b"\xe0\x00")
        self._socket.close()

    def _room(self) -> int:
        return self._window - (self.sent - self.acknowledged)

    def _send(self, made: list[bytes]) -> None:
        if not made:
            return
        stop = self.sent + len(made)
        self.times[self.sent : stop] = array("Q", [time.time_ns()]) * len(made)
        self._write(b"".join(made))
        self.sent = stop

    def _write(self, data: bytes) -> None:
        self._socket.settimeout(HANG_SECONDS)
        self._socket.sendall(data)

    def _receive(self, wait: float) -> None:
        """Count what acknowledgements come within that time."""
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        if not pending and not select.select([self._socket], [], [], wait)[0]:
            if wait == HANG_SECONDS:
                raise Failed(f"no acknowledgement for {wait:g} s; {self.acknowledged} of {self.sent} came")
            return
        self._socket.settimeout(0)
        data = b""
        try:
            data = self._socket.recv(1 << 18)
            # TLS gives a record at a time, with one answer in it.
            while isinstance(self._socket, ssl.SSLSocket) and (more := self._socket.recv(1 << 18)):
                data += more
        except (BlockingIOError, ssl.SSLWantReadError):
            if not data:
                return  # a part of a TLS record, or a ticket
        if not data:
            raise Failed(f"the broker closed the connection; {self.acknowledged} of {self.sent} were acknowledged")
        whole, cut = divmod(self._cut + len(data), 4)
        self.acknowledged += whole
        if not cut:
            expected = (self.acknowledged - 1) % PACKET_IDS + 1
            if data[-2:] != expected.to_bytes(2, "big")[-len(data) :]:
                raise Failed(f"expected the acknowledgement of packet {expected}, got {data[-4:].hex()}")
        self._cut = cut


def _topic(load: Load, number: int) -> str:
    if load.payload == "collectd":
        return f"{prefix('collectd')}/bench/line-a/gauge-{number:06d}"
    return f"{prefix('json')}/dev{number:06d}/state"


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def _length(size: int) -> bytes:
    digits = b""
    while True:
        size, digit = divmod(size, 128)
        digits += bytes([digit | (0x80 if size else 0)])
        if not size:
            return digits


def _connected(port: int, ca: Path | None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), HANG_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca is not None:
        connection = ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname="127.0.0.1")
    hello = _text("MQTT") + b"\x04\x02\x00\x00" + _text("bench-load")  # a clean session, no keepalive
    connection.sendall(b"\x10" + _length(len(hello)) + hello)
    answer = b""
    while len(answer) < 4:
        more = connection.recv(4 - len(answer))
        if not more:
            raise Failed("the broker closed the connection instead of answering CONNECT")
        answer += more
    if answer != b"\x20\x02\x00\x00":
        raise Failed(f"expected the broker to accept the connection, got {answer.hex()}")
    return connection


def main() -> None:
    order = json.loads(sys.argv[1])
    load = Load(**order["load"])
    publisher = Publisher(load, order["port"], Path(order["ca"]) if order["ca"] else None)
    try:
        if load.rate:
            publisher.paced()
        else:
            publisher.unpaced()
        publisher.finish()
    except Failed as failure:
        sys.exit(str(failure))
    Path(order["times"]).write_bytes(publisher.times.tobytes())
    acknowledged = publisher.acknowledged if load.qos else publisher.sent
    seconds = (time.time_ns() - publisher.times[0]) / 1e9
    said = {"acknowledged": acknowledged, "seconds": seconds, "cpu_s": time.process_time()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
