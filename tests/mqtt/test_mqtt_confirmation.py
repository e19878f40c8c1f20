"""When an acknowledgement counts as taken: a checkpoint is confirmed only by a ping behind all it stands for."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field

import pytest
import scripted_broker as wire
from mqtt_harness import BOTH, Collector, Intake, Version, collector, eventually, logged, run
from scripted_broker import Broker, Link, packet

from agent.collectors.mqtt import connection, inbox

both = pytest.mark.parametrize("version", BOTH)
PONG = packet(0xD0, b"")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time runs faster: looks at the connection, and the delay before another try."""
    monkeypatch.setattr(connection, "TICK", 0.05)
    monkeypatch.setattr("agent.collectors.mqtt.collector.Backoff", lambda: connection.Backoff(first=0.05, cap=0.2))


@dataclass
class Durable(Intake):
    """Knows which packet ids are durable."""

    packets: set[int] = field(default_factory=set)

    def commit(self) -> None:
        self.packets.update(packet for each in self.emissions for packet in each.packets or ())
        super().commit()


def checkpoints(taken: Collector, stored: Durable) -> list[set[int]]:
    """Checkpoints that hold the packet ids durable at their time; those confirmed stand in the list."""
    confirmed: list[set[int]] = []
    taken.redeliveries.checkpoint = lambda: set(stored.packets)  # type: ignore[method-assign]
    taken.redeliveries.confirm = confirmed.append  # type: ignore[method-assign, assignment]
    return confirmed


def kinds(link: Link) -> list[int]:
    """What came, in its order: pings and acknowledgements."""
    return [each.kind for each in link.got if each.kind in (wire.PINGREQ, wire.PUBACK)]


async def subscribed(broker: Broker) -> Link:
    await eventually(lambda: broker.links and broker.links[-1].of(wire.SUBSCRIBE), "subscribed")
    return broker.links[-1]


@both
def test_what_comes_again_behind_a_ping_is_confirmed_by_the_next_one(version: Version) -> None:
    async def main() -> None:
        table = {1: zlib.crc32(b"t/xa") << 32 | zlib.adler32(b"a")}
        stored = Durable(packets={1})  # by a run before this one
        broker = Broker(version, connack=lambda: (True, 0), pongs=False)
        async with broker.running():
            taken = collector(broker.url, "t/#", protocol=version, intake=stored, table=table)
            confirmed = checkpoints(taken, stored)
            async with taken.running():
                link = await subscribed(broker)
                await eventually(lambda: link.of(wire.PINGREQ), "a ping")
                # The broker was slow: its answer stands behind what it sends again, and our word behind the ping.
                link.send(link.publish(b"a", 1, dup=True), PONG)
                await eventually(lambda: len(link.of(wire.PINGREQ)) == 2, "another ping")
                assert kinds(link) == [wire.PINGREQ, wire.PUBACK, wire.PINGREQ]
                assert confirmed == []
                link.send(PONG)
                await eventually(lambda: confirmed, "confirmed")
                assert confirmed == [{1}]
                assert stored.payloads == []

    run(main())


@both
def test_acknowledgements_that_the_network_holds_up_leave_before_the_ping_that_confirms_them(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_OUTSTANDING", 1 << 30)

    async def main() -> None:
        stored = Durable(commits=False)
        broker = Broker(version, receive_buffer=4096, segment=536)
        async with broker.running():
            taken = collector(broker.url, "t/#", protocol=version, intake=stored)
            async with taken.running():
                link = await subscribed(broker)
                confirmed = checkpoints(taken, stored)
                total = 65_535
                link.send(*[link.publish(b"x", number) for number in range(1, total + 1)])
                await stored.holds(total, 20)
                # The broker reads nothing more: what we say piles up, first in its socket, then in ours.
                link.writer.transport.pause_reading()  # type: ignore[attr-defined]
                before = len(link.of(wire.PINGREQ))
                stored.commit()
                await asyncio.sleep(0.3)  # time enough for several pings
                assert confirmed == []
                link.writer.transport.resume_reading()  # type: ignore[attr-defined]
                await eventually(lambda: any(len(each) == total for each in confirmed), "confirmed", 20)
                said = kinds(link)
                last = len(said) - 1 - said[::-1].index(wire.PUBACK)
                assert said.count(wire.PUBACK) == total
                assert before == 0
                assert wire.PINGREQ not in said[:last]
                assert wire.PINGREQ in said[last:]

    run(main())


@both
def test_the_late_answer_to_one_ping_confirms_nothing_for_the_next(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_OUTSTANDING", 100_000)

    async def main() -> None:
        stored = Durable()
        broker = Broker(version, pongs=False)
        async with broker.running():
            taken = collector(broker.url, "t/#", protocol=version, intake=stored, keepalive=1.0)
            async with taken.running():
                link = await subscribed(broker)
                confirmed = checkpoints(taken, stored)
                stored.commits = False
                for number in (1, 2):
                    link.send(link.publish(b"small", number))
                    await stored.holds(number)
                # With the first acknowledged there is something to confirm, as soon as the second is durable.
                stored.packets.add(1)
                stored._open[0].set_result(None)
                await eventually(lambda: len(link.of(wire.PINGREQ)) == 1, "a ping that is due, and confirms nothing")
                link.send(*[link.publish(b"x" * 60_000, number) for number in (3, 4)])
                await stored.holds(4)
                stored.packets.add(2)
                stored._open[1].set_result(None)
                await eventually(lambda: len(link.of(wire.PINGREQ)) == 2, "another ping, as reading is held")
                assert kinds(link) == [wire.PUBACK, wire.PINGREQ, wire.PUBACK, wire.PINGREQ]
                link.send(PONG)  # to the first
                stored.commit()
                await eventually(lambda: link.acked() == [1, 2, 3, 4], "acknowledged")
                await asyncio.sleep(0.2)  # time enough to take the answer for more than it is
                assert confirmed == []
                broker.pongs = True
                link.send(PONG)
                await eventually(lambda: confirmed and confirmed[-1] == {1, 2, 3, 4}, "confirmed")

    with logged():
        run(main())
