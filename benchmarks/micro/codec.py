"""
What MQTT packets cost, from the socket to an emission, acknowledgements included: both codecs, QoS 0 and 1.

    python -m benchmarks.micro.codec

Beside it runs the least that any reader does: the same bytes off a socket, and topic, packet id and payload of each
message cut out of them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Literal

import structlog

from agent.collectors.mqtt import Mqtt, Subscription
from agent.ports import Context
from agent.record import Emission
from agent.stats import Health, Stats
from benchmarks.micro.figures import Line, Spent, measured, shown
from benchmarks.micro.pouring import Messages, pouring

COUNT = 40_000
BUFFER = 256 * 1024
VERSIONS: tuple[tuple[Literal["5", "3.1.1"], int], ...] = (("5", 5), ("3.1.1", 4))
PATIENCE = 30.0  # seconds for all messages of a run

LINES = tuple(
    Line(step=f"MQTT {name}, QoS {qos}", beside=f"cut out, {name}, QoS {qos}") for name, _ in VERSIONS for qos in (0, 1)
)


class Sifter:
    """Stands where intake does: counts what is emitted, and calls it durable at once."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all = asyncio.get_running_loop().create_future()

    def emit(self, emission: Emission) -> asyncio.Future[None]:
        """Take an emission."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        self._left -= len(emission.payloads)
        if self._left == 0:
            self.all.set_result(None)
        return done


class NoRedeliveries:
    """Stands where the spool's memory does: this far end never sends anything again."""

    def unacked(self) -> dict[int, int]:
        return {}

    def checkpoint(self) -> object:
        return None

    def confirm(self, checkpoint: object) -> None:
        pass


async def collected(messages: Messages, protocol: Literal["5", "3.1.1"], spent: Spent) -> None:
    """The agent's collector takes them."""
    with pouring(messages) as far:
        subscription = Subscription(topic="plant/{line}/{device}/state", qos=messages.qos)
        mqtt = Mqtt(url=f"mqtt://127.0.0.1:{far.port}", protocol=protocol, subscription=[subscription])
        part = Health().part("collector", "plant")
        sifter = Sifter(messages.count)
        context = Context("plant", "host", "0123456789abcdef", Stats(), part, NoRedeliveries())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(mqtt.run(sifter.emit, context))
            async with asyncio.timeout(PATIENCE):
                while part.state != "up":  # noqa: ASYNC110 - a part tells nobody when it changes
                    await asyncio.sleep(0.01)
                with spent.on(f"MQTT {protocol}, QoS {messages.qos}", messages.count):
                    far.pour()
                    await sifter.all
            running.cancel()


def cut_out(messages: Messages, protocol: Literal["5", "3.1.1"], spent: Spent) -> None:
    """A bare loop takes them."""
    with (
        pouring(messages) as far,
        socket.create_connection(("127.0.0.1", far.port)) as client,
        spent.on(f"cut out, {protocol}, QoS {messages.qos}", messages.count),
    ):
        far.pour()
        _cut(client, messages)


def _cut(client: socket.socket, messages: Messages) -> None:
    id_bytes, properties = (2 if messages.qos else 0), (1 if messages.version == 5 else 0)
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    end = taken = 0
    while taken < messages.count:
        read = client.recv_into(view[end:])
        if not read:
            raise RuntimeError(f"the far end ended after {taken} messages of {messages.count}")
        end += read
        data = bytes(view[:end])
        at = 0
        while at + 3 <= end:
            # Two bytes of length, as sizes from 128 bytes to 16 kB have.
            begin = at + 3
            after = begin + (data[at + 1] & 0x7F | data[at + 2] << 7)
            if after > end:
                break
            topic_end = begin + 2 + (data[begin] << 8 | data[begin + 1])
            fields = topic_end + id_bytes
            _ = data[begin + 2 : topic_end], data[topic_end:fields], data[fields + properties : after]
            at = after
            taken += 1
        end -= at
        view[:end] = data[at:]


def run(spent: Spent) -> None:
    """One round."""
    for protocol, version in VERSIONS:
        for qos in (0, 1):
            messages = Messages(count=COUNT, qos=qos, version=version)
            cut_out(messages, protocol, spent)
            asyncio.run(collected(messages, protocol, spent))


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    shown("MQTT, socket to emission, 200 B", LINES, measured(run))


if __name__ == "__main__":
    main()
