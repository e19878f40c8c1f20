"""Simulated devices: each publishes what it measures at QoS 1 and writes down what the broker acknowledged to it."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiomqtt

ACKNOWLEDGED_WITHIN = 10.0  # seconds; then the connection is taken for dead and the message sent again
SITES = ("seoul", "busan", "gwangju")


@dataclass(slots=True)
class Fleet:
    """The devices' own books: what the broker has taken, and so what must arrive."""

    log: Path
    devices: int
    published: int = 0  # tries, repeated ones too
    reconnects: int = 0
    acknowledged: set[str] = field(default_factory=set)
    _file: int = field(init=False)

    def __post_init__(self) -> None:
        self._file = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def note(self, uid: str) -> None:
        """The broker has acknowledged that one."""
        # A short line into the page cache, on the loop: it must be there before the next message goes out.
        os.write(self._file, uid.encode() + b"\n")
        self.acknowledged.add(uid)

    def close(self) -> None:
        """The log is complete."""
        os.close(self._file)


@dataclass(slots=True)
class Device:
    """One sensor: values that wander, each reading with an id of its own."""

    name: str
    site: str
    rng: Random
    temperature: float = 21.0
    humidity: float = 45.0
    count: int = 0

    @property
    def topic(self) -> str:
        return f"plant/{self.site}/{self.name}/state"

    def reading(self) -> tuple[str, bytes]:
        """The next reading: its id and its payload."""
        self.count += 1
        self.temperature += self.rng.gauss(0.0, 0.1)
        self.humidity = min(100.0, max(0.0, self.humidity + self.rng.gauss(0.0, 0.3)))
        uid = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        reading = {
            "uid": uid,
            "n": self.count,
            "time": time.time_ns() // 1_000_000,
            "temperature": round(self.temperature, 2),
            "humidity": round(self.humidity, 1),
            "running": self.rng.random() < 0.98,
        }
        return uid, json.dumps(reading, separators=(",", ":")).encode()


@asynccontextmanager
async def running(
    port: int, log: Path, stop: asyncio.Event, *, count: int = 8, rate: float = 100.0, seed: int | None = None
) -> AsyncIterator[Fleet]:
    """
    Run `count` devices against the broker on that port, `rate` messages a second together.

    They publish until `stop` is set, finish what they have begun, and end; leaving waits for that.
    """
    fleet = Fleet(log, count)
    rng = Random(seed)
    try:
        async with asyncio.TaskGroup() as tasks:
            for i in range(count):
                device = Device(f"device-{i:02d}", SITES[i % len(SITES)], Random(rng.getrandbits(64)))
                tasks.create_task(_live(device, port, fleet, stop, count / rate), name=device.name)
            try:
                yield fleet
            finally:
                stop.set()
    finally:
        fleet.close()


async def _live(device: Device, port: int, fleet: Fleet, stop: asyncio.Event, interval: float) -> None:
    """Publish, and connect again when the broker is gone; what was not acknowledged is sent again as it was."""
    pending: tuple[str, bytes] | None = None
    await _pause(stop, device.rng.uniform(0.0, interval))
    while not stop.is_set():
        try:
            async with (
                aiomqtt.Client("127.0.0.1", port, identifier=device.name, timeout=ACKNOWLEDGED_WITHIN) as client,
                asyncio.TaskGroup() as tasks,
            ):
                watch = tasks.create_task(_watch(client), name=f"{device.name} connection")
                due = time.monotonic()
                while not stop.is_set():
                    pending = pending or device.reading()
                    fleet.published += 1
                    await client.publish(device.topic, pending[1], qos=1)
                    fleet.note(pending[0])
                    pending = None
                    due = max(due + interval, time.monotonic() - 1.0)  # catches up, but not on more than a second
                    await _pause(stop, due - time.monotonic())
                watch.cancel()
        except* aiomqtt.MqttError:
            fleet.reconnects += 1
            await _pause(stop, 0.5)


async def _watch(client: aiomqtt.Client) -> None:
    """Fail as soon as the connection is cut: a publish alone would wait for its acknowledgement until it times out."""
    async for _ in client.messages:
        pass


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    if seconds <= 0:
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
