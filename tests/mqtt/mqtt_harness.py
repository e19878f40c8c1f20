"""The other side of the collector's contract, small enough to read: an intake that commits when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from agent.collectors.mqtt import Mqtt, Subscription
from agent.ports import Context
from agent.record import Emission
from agent.stats import Health, Stats

INSTANCE = "0123456789abcdef"
Version = Literal["5", "3.1.1"]
BOTH: list[Version] = ["5", "3.1.1"]


def run(main: Coroutine[Any, Any, None], timeout: float = 30.0) -> None:
    """Run a test's coroutine, but not for ever."""

    async def limited() -> None:
        async with asyncio.timeout(timeout):
            await main

    asyncio.run(limited())


async def eventually(condition: Callable[[], Any], what: str = "", timeout: float = 10.0) -> Any:
    """Wait until the condition holds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not (found := condition()):
        if loop.time() > deadline:
            raise AssertionError(f"never: {what or condition}")
        await asyncio.sleep(0.005)
    return found


@dataclass
class Intake:
    """Takes emissions; `commits` says whether they are durable at once, or when `commit` is called."""

    commits: bool = True
    emissions: list[Emission] = field(default_factory=list)
    _open: list[asyncio.Future[None]] = field(default_factory=list)

    def emit(self, emission: Emission) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.emissions.append(emission)
        if self.commits:
            future.set_result(None)
        else:
            self._open.append(future)
        return future

    def commit(self) -> None:
        """Everything emitted so far is durable, and what comes is so at once."""
        self.commits = True
        for future in self._open:
            if not future.done():
                future.set_result(None)
        self._open.clear()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for emission in self.emissions for payload in emission.payloads]

    @property
    def tags(self) -> list[Mapping[str, str]]:
        return [stream.tags for emission in self.emissions for stream in emission.streams]

    @property
    def stored(self) -> dict[int, int]:
        """What a spool would give back after a crash: packet id -> hash."""
        table: dict[int, int] = {}
        for emission in self.emissions:
            if emission.packets is not None and emission.hashes is not None:
                table.update(zip(emission.packets, emission.hashes, strict=True))
        table.pop(0, None)
        return table

    async def holds(self, count: int, timeout: float = 10.0) -> None:
        """Wait until that many messages have been emitted."""
        await eventually(lambda: len(self.payloads) >= count, f"{count} messages, only {len(self.payloads)}", timeout)


@dataclass
class Redeliveries:
    """The spool's memory of unconfirmed packets."""

    table: dict[int, int] = field(default_factory=dict)
    confirmed: list[object] = field(default_factory=list)
    checkpoints: int = 0

    def unacked(self) -> Mapping[int, int]:
        return self.table

    def checkpoint(self) -> object:
        self.checkpoints += 1
        return self.checkpoints

    def confirm(self, checkpoint: object) -> None:
        self.confirmed.append(checkpoint)


class Collector:
    """A collector that runs, and what it is told."""

    def __init__(self, mqtt: Mqtt, intake: Intake, *, table: dict[int, int] | None = None, name: str = "plant") -> None:
        self.mqtt = mqtt
        self.intake = intake
        self.redeliveries = Redeliveries(dict(table or {}))
        self.stats = Stats()
        self.part = Health().part("collector", name)
        self.context = Context(name, "host", INSTANCE, self.stats, self.part, self.redeliveries)

    def count(self, name: str, **labels: str) -> int:
        return sum(
            int(sample.value)
            for sample in self.stats.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @contextlib.asynccontextmanager
    async def running(self, *, up: bool = True) -> AsyncIterator[Collector]:
        task = asyncio.create_task(self.mqtt.run(self.intake.emit, self.context))
        try:
            if up:
                await eventually(lambda: self.part.state == "up" or task.done(), f"up: {self.part}", 15)
                if task.done():
                    task.result()
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]


def collector(
    url: str,
    *topics: str | Subscription,
    intake: Intake | None = None,
    table: dict[int, int] | None = None,
    protocol: Version = "5",
    **options: Any,
) -> Collector:
    """A collector of these topics."""
    subscriptions = [each if isinstance(each, Subscription) else Subscription(topic=each) for each in topics]
    mqtt = Mqtt(url=url, protocol=protocol, subscription=subscriptions, **options)
    assert mqtt.problems() == []
    return Collector(mqtt, intake or Intake(), table=table)


class Publisher:
    """A device: paho, in a thread, so that what it does owes nothing to the code under test."""

    def __init__(self, port: int, protocol: Version = "5", **options: Any) -> None:
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5 if protocol == "5" else paho.MQTTv311
        )
        if "username" in options:
            self._client.username_pw_set(options["username"], options.get("password"))
        # Mosquitto takes 20 at a time from a device, and of QoS 2 forgets what comes beyond.
        self._client.max_inflight_messages_set(20)
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert connected.wait(5), "the publisher cannot connect"

    def send(self, topic: str, *payloads: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the broker has them."""
        sent = [self._client.publish(topic, payload, qos, retain) for payload in payloads]
        for each in sent:
            each.wait_for_publish(10)
            assert each.is_published()

    def post(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0, and do not wait."""
        self._client.publish(topic, payload, 0)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def publisher(port: int, protocol: Version = "5", **options: Any) -> Iterator[Publisher]:
    device = Publisher(port, protocol, **options)
    try:
        yield device
    finally:
        device.close()


@contextlib.contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """The log lines of a test."""
    with structlog.testing.capture_logs() as lines:
        yield lines


logging.getLogger("amqtt").setLevel(logging.CRITICAL)
