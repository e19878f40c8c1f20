"""
What a record costs to make: the payload's JSON checked, then time, source and tags put around it, 500 at a time.

    python -m benchmarks.micro.record

Beside it runs `json.loads` on the same payloads: the least that a parser in the standard library takes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent.collectors.mqtt import Subscription
from agent.collectors.mqtt.options import Time
from agent.collectors.mqtt.payload import parser
from agent.intake import Intake
from agent.options import Selection
from agent.payload import all_plain_objects
from agent.record import Emission, Parse, Stream
from agent.spool import Reader, Settings, Spool
from agent.stats import Health, Stats
from benchmarks.micro.figures import Line, Spent, measured, shown
from benchmarks.micro.pouring import Messages

GROUP, GROUPS = 500, 60
TOTAL = GROUP * GROUPS
TOPICS = 100

LINES = (
    Line(step="check, 200 B", beside="json.loads, 200 B"),
    Line(step="check and build, 100 B", beside="json.loads, 100 B"),
    Line(step="check and build, 200 B", beside="json.loads, 200 B"),
    Line(step="check and build, 4 kB", beside="json.loads, 4 kB"),
    Line(step="the same, tag and time out of the payload, 200 B", beside="json.loads, 200 B"),
    Line(step="a number alone", beside="json.loads, a number"),
)


async def run(spent: Spent) -> None:
    """One round."""
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(directory=Path(name), durability="none", max_bytes=1 << 30, min_free_bytes=0)
        selection = Selection()
        part = Health().part("spool", "writer")
        readers = [Reader("lake", selection.lane)]
        async with Spool.open(settings, readers, version="bench", part=part, stats=Stats()) as spool:
            intake = Intake(spool, [selection], {"site": "seoul"}, max_record=1 << 18, stats=Stats())
            _round(intake, spent)


def _round(intake: Intake, spent: Spent) -> None:
    for words, size in (("100 B", 100), ("200 B", 200), ("4 kB", 4000)):
        payloads = _payloads(size)
        _loaded(f"json.loads, {words}", payloads, spent)
        _built(f"check and build, {words}", intake, None, payloads, spent)
    payloads = _payloads(200)
    with spent.on("check, 200 B", TOTAL):
        for _ in range(GROUPS):
            all_plain_objects(payloads)
    members = Subscription(topic="#", tag_keys=("v",), time=Time(key="ts", format="ms"))
    _built("the same, tag and time out of the payload, 200 B", intake, _parse(members), payloads, spent)
    numbers = [b"%.2f" % (number / 7) for number in range(GROUP)]
    _loaded("json.loads, a number", numbers, spent)
    _built("a number alone", intake, _parse(Subscription(topic="#", format="value")), numbers, spent)


def _payloads(size: int) -> list[bytes]:
    messages = Messages(count=GROUP, qos=0, version=5, size=size)
    return [messages.payload(number) for number in range(GROUP)]


def _parse(subscription: Subscription) -> Parse | None:
    return parser(subscription, lambda: None)


def _loaded(step: str, payloads: Sequence[bytes], spent: Spent) -> None:
    with spent.on(step, TOTAL):
        for _ in range(GROUPS):
            for payload in payloads:
                json.loads(payload)


def _built(step: str, intake: Intake, parse: Parse | None, payloads: Sequence[bytes], spent: Spent) -> None:
    streams = [Stream("mqtt.plant", {"device": f"d{number:05d}"}, parse) for number in range(TOPICS)]
    emission = Emission("plant", [streams[n % TOPICS] for n in range(GROUP)], payloads, 1_790_000_000_000)
    stored = 0
    with spent.on(step, TOTAL):
        for _ in range(GROUPS):
            stored += intake.take(emission).stored
    if stored != TOTAL:
        raise RuntimeError(f"{step}: {stored} records of {TOTAL} payloads: some were refused, so nothing was measured")


def main() -> None:
    """Measure and print."""
    shown(f"Records, {GROUP} at a time, {TOPICS} topics", LINES, measured(lambda spent: asyncio.run(run(spent))))


if __name__ == "__main__":
    main()
