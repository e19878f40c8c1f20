"""
The embedded broker, out of a wheel: iotcore (rumqttd: MQTT 3.1.1 and 5), or amqtt (3.1.1 alone) where iotcore has none.

It runs as a child process of its own, because rumqttd cannot be stopped and because its work is not the demo's:

    with embedded(directory) as broker: ...        `python -m agent.sandbox.broker iotcore DIRECTORY` is the child

Measured: iotcore 0.4.0 takes 500 messages a second for a minute at a tenth of a core each way and 40 MB, losing none.
Its limits: everything is in memory, so sessions and what waits in them outlive a connection and not the broker; a
subscriber that falls behind by more than LOG bytes of a filter loses the oldest without a word; 100 unacknowledged
messages are in flight to a subscriber, whatever Receive Maximum it gives; after a reconnect these come again, without
DUP and with packet ids counted from 1; a message is acknowledged though nobody subscribes; payloads to 1 MiB.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.sandbox.child import end

Kind = Literal["iotcore", "amqtt"]
LOG = 8 * 10 * 1024 * 1024  # ten segments of 8 MiB of memory for each subscribed filter
START = 15.0  # seconds a broker may take to listen

_RUMQTTD = """\
id = 0

[router]
id = 0
max_connections = 200
max_outgoing_packet_count = 200
max_segment_size = {segment}
max_segment_count = 10

[v4.1]
name = "v4"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true

[v5.1]
name = "v5"
listen = "127.0.0.1:{port5}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
"""


class NoBrokerError(Exception):
    """No embedded broker is installed, or it does not start; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A running broker."""

    kind: Kind
    port: int  # MQTT 3.1.1
    port5: int | None  # MQTT 5, a port of its own; None: not spoken
    pid: int

    @property
    def protocol(self) -> Literal["5", "3.1.1"]:
        """The newest it speaks."""
        return "3.1.1" if self.port5 is None else "5"

    @property
    def url(self) -> str:
        """Where the newest is spoken."""
        return f"mqtt://127.0.0.1:{self.port5 or self.port}"


def available() -> Kind | None:
    """The broker that is installed, the better one first."""
    kinds: tuple[Kind, ...] = ("iotcore", "amqtt")
    return next((kind for kind in kinds if importlib.util.find_spec(kind) is not None), None)


@contextmanager
def embedded(directory: Path, kind: Kind | None = None) -> Iterator[Broker]:
    """Run one until left; it ends with whoever started it, kill -9 included. NoBrokerError where none starts."""
    kind = kind or available()
    if kind is None:
        raise NoBrokerError("no embedded broker is installed; in a checkout of the source: pip install '.[demo]'")
    directory.mkdir(parents=True, exist_ok=True)
    with (
        (directory / "broker.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "agent.sandbox.broker", kind, str(directory)],
            stdin=subprocess.PIPE,  # it ends when this closes
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its parts in order
        ) as child,
    ):
        try:
            ports = _first_line(child).split()
            if len(ports) != 2:
                text = (directory / "broker.log").read_text(errors="replace")
                raise NoBrokerError(f"{kind} did not start: {text.strip()[-300:] or 'no reason given'}")
            port, port5 = map(int, ports)
            yield Broker(kind=kind, port=port, port5=port5 or None, pid=child.pid)
        finally:
            end(child, 5)


def _first_line(child: subprocess.Popen[bytes]) -> str:
    if child.stdout is None:
        return ""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        return child.stdout.readline().decode() if selector.select(START) else ""


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _serve_iotcore(directory: Path) -> None:
    from iotcore import IotCoreBroker

    # rumqttd tells of every packet at the level of errors; what keeps it from starting is raised.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    port, port5 = _free_ports(2)
    config = directory / "rumqttd.toml"
    config.write_text(_RUMQTTD.format(segment=LOG // 10, port=port, port5=port5))
    broker = IotCoreBroker(config_path=str(config))
    threading.Thread(target=broker.run_forever, daemon=True).start()
    _wait_for(port, port5)
    _say(port, port5)
    threading.Event().wait()


def _serve_amqtt() -> None:
    from amqtt.broker import Broker as Amqtt

    (port,) = _free_ports(1)
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }

    async def serve() -> None:
        await Amqtt(config).start()
        _say(port, 0)
        await asyncio.Event().wait()

    asyncio.run(serve())


def _wait_for(*ports: int) -> None:
    deadline = time.monotonic() + START
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _say(port: int, port5: int) -> None:
    sys.stdout.write(f"{port} {port5}\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.argv[1] == "iotcore":
        _serve_iotcore(Path(sys.argv[2]))
    else:
        _serve_amqtt()
