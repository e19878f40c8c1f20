"""A scripted broker and a collector that is connected to it, in quick time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import scripted_broker as wire
from mqtt_harness import Collector, Intake, Version, collector, eventually
from scripted_broker import Broker, Link

from agent.collectors.mqtt import Subscription, connection


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs faster: looks at the connection, and the delay before another try."""
    monkeypatch.setattr(connection, "TICK", 0.05)
    monkeypatch.setattr("agent.collectors.mqtt.collector.Backoff", lambda: connection.Backoff(first=0.05, cap=0.2))


@contextlib.asynccontextmanager
async def scene(
    version: Version, *, intake: Intake | None = None, qos: int = 1, present: list[bool] | None = None, **options: Any
) -> AsyncIterator[tuple[Broker, Collector]]:
    """A scripted broker and a collector connected to it; `present`: whether each connection finds a session."""
    sessions = list(present or [])
    broker = Broker(version, connack=lambda: (sessions.pop(0) if sessions else False, 0), suback=lambda name: qos)
    async with broker.running():
        taken = collector(broker.url, Subscription(topic="t/#", qos=qos), protocol=version, intake=intake, **options)
        async with taken.running():
            yield broker, taken


async def link(broker: Broker, number: int) -> Link:
    """The connection of that number (from 0), once it is subscribed."""
    await eventually(lambda: len(broker.links) > number, f"connection {number}")
    found = broker.links[number]
    await eventually(lambda: found.of(wire.SUBSCRIBE), "subscribed")
    return found
