"""
How much does acknowledging after the commit cost under MQTT 3.1.1, where an untuned Mosquitto keeps 20 in flight?

Both clients drain the same number of QoS 1 messages that wait in a kept session, in alternating rounds:
aiomqtt acknowledging at once and storing nothing, and the agent's reader acknowledging after the spool's fsync.

    PYTHONPATH=.:tests:tests/mqtt python benchmarks/mqtt_311_rate.py [MESSAGES ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiomqtt
import brokers
import structlog
from mqtt_harness import Intake as Listed
from mqtt_harness import collector, eventually, publisher

from agent import __version__
from agent.intake import Intake
from agent.options import Selection
from agent.record import Emission
from agent.spool import Reader, Settings, Spool
from agent.stats import Health, Stats

PAYLOAD = (
    b'{"device":"press-7","temperature":21.53,"pressure":1013.2,"state":"running","counter":%d,"pad":"'
    + b"x" * 100
    + b'"}'
)


async def leave_messages(broker: brokers.Broker, client: str, count: int) -> None:
    """Make a session, and let messages wait in it."""
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier=client, clean_session=False) as session:
        await session.subscribe(f"rate/{client}/#", 1)

    def send() -> None:
        with publisher(broker.port, "3.1.1") as device:
            device.send(f"rate/{client}/x", *(PAYLOAD % number for number in range(count)))

    await asyncio.to_thread(send)


async def at_once(broker: brokers.Broker, client: str, count: int) -> float:
    """aiomqtt as its guide shows it."""
    start = time.perf_counter()
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier=client, clean_session=False) as session:
        seen = 0
        async for _ in session.messages:
            seen += 1
            if seen == count:
                break
    return count / (time.perf_counter() - start)


async def after_commit(broker: brokers.Broker, client: str, count: int, directory: Path, durability: str) -> float:
    """The agent's reader, intake and spool."""
    stats, health = Stats(), Health()
    settings = Settings(directory=directory, durability=durability, max_bytes=1 << 28, min_free_bytes=0)
    selection = Selection()
    async with Spool.open(
        settings, [Reader("s", selection.lane)], version=__version__, part=health.part("spool", "w"), stats=stats
    ) as spool:
        intake = Intake(spool, [selection], {}, max_record=1 << 18, stats=stats)
        emit, durable = intake.emitter("plant"), [0]

        def counted(emission: Emission) -> asyncio.Future[None]:
            future = emit(emission)
            future.add_done_callback(lambda _: durable.__setitem__(0, durable[0] + len(emission.payloads)))
            return future

        taken = collector(broker.url, f"rate/{client}/#", protocol="3.1.1", client_id=client, intake=Listed())
        taken.intake.emit = counted  # type: ignore[method-assign]
        start = time.perf_counter()
        async with taken.running(up=False):
            await eventually(lambda: durable[0] >= count, "all durable", 120)
            return count / (time.perf_counter() - start)


async def main(count: int, rounds: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        rates: dict[str, list[float]] = {"at once": [], "strict": [], "none": []}
        # Untuned but for the queue, which would drop what waits beyond 1,000; and no saving at every change.
        with brokers.mosquitto(folder / "broker", "max_queued_messages 0", autosave=False) as broker:
            for number in range(rounds):
                for kind, listed in rates.items():
                    client = f"{kind.replace(' ', '-')}-{number}"
                    await leave_messages(broker, client, count)
                    if kind == "at once":
                        listed.append(await at_once(broker, client, count))
                    else:
                        listed.append(await after_commit(broker, client, count, folder / client, kind))
                print({kind: round(listed[-1]) for kind, listed in rates.items()}, flush=True)
        base = statistics.median(rates["at once"])
        for kind, listed in rates.items():
            rate = statistics.median(listed)
            print(f"{kind:8} {rate:8.0f} messages/s  {rate / base:5.2f} of at once")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3] if len(sys.argv) == 3 else ("5000", "5"))))
