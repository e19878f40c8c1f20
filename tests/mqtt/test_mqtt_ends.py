"""How connections end: what was read by then stays known, and a twin is told from a broker that is gone."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import scripted_broker as wire
from mqtt_harness import BOTH, Version, collector, eventually, logged, run
from scripted_broker import Broker, packet
from scripted_scene import link, quicken, scene

both = pytest.mark.parametrize("version", BOTH)
TWICE = "mqtt client id used twice"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@both
def test_what_was_read_together_with_the_end_is_known_when_it_comes_again(version: Version) -> None:
    async def main() -> None:
        async with scene(version, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1), first.publish(b"b", 2))
            # Both stand in the collector's socket before it looks.
            first.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            second = await link(broker, 1)
            second.send(second.publish(b"a", 1, dup=True), second.publish(b"b", 2, dup=True))
            await eventually(lambda: second.acked() == [1, 2], "acknowledged")
            assert taken.intake.payloads == [b"a", b"b"]
            assert taken.count("agent_mqtt_redelivered_total") == 2

    run(main())


@both
def test_a_twin_is_named_where_the_broker_throws_us_out_without_a_word(version: Version) -> None:
    async def main() -> None:
        with logged() as lines:
            async with scene(version) as (broker, _):
                for number in range(3):
                    (await link(broker, number)).writer.close()
                await link(broker, 3)
        twice = [line for line in lines if line["event"] == TWICE]
        assert [line["log_level"] for line in twice] == ["error"]
        assert twice[0]["cause"].startswith("most likely another client connects with this client id")

    run(main())


@both
def test_a_broker_that_cannot_be_reached_in_between_is_no_twins_doing(version: Version) -> None:
    answers: list[Any] = [(False, 0), (False, 0), (False, 3 if version == "3.1.1" else 0x88)]

    async def main() -> None:
        broker = Broker(version, connack=lambda: answers.pop(0) if answers else (False, 0))
        with logged() as lines:
            async with broker.running(), collector(broker.url, "t/#", protocol=version).running():
                for number in (0, 1, 3):
                    (await link(broker, number)).writer.close()
                await link(broker, 4)
        assert [line for line in lines if line["event"] == TWICE] == []

    run(main())


def test_a_second_answer_to_connect_ends_the_connection_under_3_1_1_too() -> None:
    async def main() -> None:
        async with scene("3.1.1", present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1), packet(0x20, b"\x01\x00"), first.publish(b"b", 2))
            second = await link(broker, 1)
            second.send(second.publish(b"b", 2, dup=True))
            await eventually(lambda: 2 in second.acked(), "acknowledged")
            assert taken.intake.payloads == [b"a", b"b"]
            assert taken.count("agent_mqtt_sessions_lost_total") == 0
            assert first.of(wire.CONNECT)

    run(main())


def test_an_answer_that_nobody_waits_for_costs_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with scene("3.1.1") as (broker, taken):
            first = await link(broker, 0)
            strays = packet(0x90, b"\x77\x77\x01"), packet(0xB0, b"\x77\x77"), packet(0x40, b"\x77\x77")
            first.send(*strays, first.publish(b"a", 1))
            await eventually(lambda: first.acked() == [1], "acknowledged")
            assert taken.intake.payloads == [b"a"]
            assert len(broker.links) == 1

    run(main())
    assert caplog.records == []
