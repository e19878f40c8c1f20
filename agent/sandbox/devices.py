"""Simulated devices: each publishes what it measures at QoS 1 and writes down what the broker acknowledged to it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiomqtt

ACKNOWLEDGED_WITHIN = 10.0  # seconds; then the connection is taken for dead and the message sent again
SITES = ("seoul", "busan", "gwangju")
MIDDLE, SWING, PERIOD = 21.0, 4.0, 15.0  # degrees, degrees up and down, seconds: an oven, in a hurry
# Quotation marks, backslashes and letters beyond ASCII are what a far side may stumble over.
ALARMS = (
    'door "east" is open',
    "pressure above 4.2 bar",
    "no file C:\\recipes\\7.txt",
    "냉각수가 부족합니다 ⚠",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a device publishes, with an id of its own."""

    uid: str
    device: str
    topic: str
    payload: bytes
    alarm: str = ""  # its text; "": a reading


@dataclass(slots=True)
class Fleet:
    """The devices' own books: what the broker has taken, and so what must arrive."""

    log: Path
    devices: int
    published: int = 0  # tries, repeated ones too
    reconnects: int = 0
    acknowledged: set[str] = field(default_factory=set)  # the readings
    readings: Counter[str] = field(default_factory=Counter)  # how many of them, by device
    alarms: dict[str, str] = field(default_factory=dict)  # the alarms: id and text
    _file: int = field(init=False)

    def __post_init__(self) -> None:
        self._file = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def note(self, message: Message) -> None:
        """The broker has acknowledged that one."""
        # A short line into the page cache, on the loop: it must be there before the next message goes out.
        os.write(self._file, message.uid.encode() + b"\n")
        if message.alarm:
            self.alarms[message.uid] = message.alarm
        else:
            self.acknowledged.add(message.uid)
            self.readings[message.device] += 1

    def close(self) -> None:
        """The log is complete."""
        os.close(self._file)


@dataclass(slots=True)
class Device:
    """One sensor: a temperature that rises and falls, a humidity that wanders."""

    name: str
    site: str
    rng: Random
    phase: float = 0.0  # of its period
    humidity: float = 45.0
    count: int = 0

    def reading(self) -> Message:
        """The next reading."""
        self.count += 1
        turn = time.monotonic() / PERIOD + self.phase
        self.humidity = min(100.0, max(0.0, self.humidity + self.rng.gauss(0.0, 0.3)))
        return self._message(
            "state",
            n=self.count,
            messages=1,  # so that a sum over whatever became of many tells how many they were
            temperature=round(MIDDLE + SWING * math.sin(turn * math.tau) + self.rng.gauss(0.0, 0.1), 2),
            humidity=round(self.humidity, 1),
            running=self.rng.random() < 0.98,
        )

    def alarm(self) -> Message:
        """An alarm."""
        text = self.rng.choice(ALARMS)
        return self._message("alarm", alarm=text, what=text, severity=self.rng.choice(("minor", "major")))

    def _message(self, level: str, alarm: str = "", **values: object) -> Message:
        uid = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        payload = {"uid": uid, "time": time.time_ns() // 1_000_000, **values}
        return Message(
            uid=uid,
            device=self.name,
            topic=f"plant/{self.site}/{self.name}/{level}",
            payload=json.dumps(payload, separators=(",", ":")).encode(),
            alarm=alarm,
        )


@asynccontextmanager
async def running(
    port: int,
    log: Path,
    stop: asyncio.Event,
    *,
    count: int = 8,
    rate: float = 100.0,
    alarms: float = 0.0,
    seed: int | None = None,
) -> AsyncIterator[Fleet]:
    """
    Run `count` devices against the broker on that port: `rate` readings and `alarms` alarms a second together.

    They publish until `stop` is set, finish what they have begun, and end; leaving waits for that.
    """
    fleet = Fleet(log, count)
    rng = Random(seed)
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            for i in range(count):
                device = Device(f"device-{i:02d}", SITES[i % len(SITES)], Random(rng.getrandbits(64)), i / count)
                rest = count / alarms if alarms else math.inf  # seconds between two alarms of a device
                first = time.monotonic() + (rest * i / count if alarms else math.inf)
                tasks.create_task(_live(device, port, fleet, stop, count / rate, (first, rest)), name=device.name)
            try:
                yield fleet
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap what is not its own
                failure = error
            finally:
                stop.set()
        if failure is not None:
            raise failure
    finally:
        fleet.close()


async def _live(
    device: Device, port: int, fleet: Fleet, stop: asyncio.Event, interval: float, alarms: tuple[float, float]
) -> None:
    """Publish, and connect again when the broker is gone; what was not acknowledged is sent again as it was."""
    pending: Message | None = None
    alarm, rest = alarms
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
                    if pending is None and time.monotonic() >= alarm:
                        pending, alarm = device.alarm(), alarm + rest
                    pending = pending or device.reading()
                    fleet.published += 1
                    await client.publish(pending.topic, pending.payload, qos=1)
                    fleet.note(pending)
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
