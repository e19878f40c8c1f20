"""What goes over the wire, and when: a scripted broker tells what no real one would."""

from __future__ import annotations

import asyncio
import zlib

import mqtt5
import pytest
import scripted_broker as wire
from mqtt_harness import BOTH, Intake, Version, collector, eventually, logged, run
from scripted_broker import Broker, packet, text
from scripted_scene import link, quicken, scene

from agent.collectors.mqtt import connection, inbox

both = pytest.mark.parametrize("version", BOTH)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@both
def test_nothing_is_acknowledged_before_it_is_durable(version: Version) -> None:
    async def main() -> None:
        async with scene(version, intake=Intake(commits=False)) as (broker, taken):
            first = await link(broker, 0)
            first.send(*[first.publish(b"%d" % n, n) for n in range(1, 20)])
            await taken.intake.holds(19)
            # A ping and its answer lie between: an acknowledgement would have been seen.
            pings = len(first.of(wire.PINGREQ))
            first.send(first.publish(b"last", 20))
            await taken.intake.holds(20)
            assert first.acked() == []
            before = len(first.chunks)
            taken.intake.commit()
            await eventually(lambda: len(first.acked()) == 20, "acknowledged")
            assert first.acked() == list(range(1, 21))
            # All of a commit leave together.
            assert len(first.chunks) - before <= 1 + len(first.of(wire.PINGREQ)) - pings

    run(main())


@both
def test_packet_ids_and_hashes_that_every_process_agrees_on_go_with_the_messages(version: Version) -> None:
    async def main() -> None:
        async with scene(version) as (broker, taken):
            first = await link(broker, 0)
            first.send(
                first.publish(b'{"t":1}', 258), first.publish(b"x", qos=0), first.publish(b"old", 9, retain=True)
            )
            await taken.intake.holds(2)
            columns = [each for each in taken.intake.emissions if each.packets is not None]
            assert [packet for each in columns for packet in each.packets or ()][:1] == [258]
            digest = zlib.crc32(b't/x{"t":1}') << 32 | zlib.adler32(b'{"t":1}')
            assert taken.intake.stored == {258: digest}
            await eventually(lambda: first.acked() == [258, 9], "acknowledged")
            first.send(first.publish(b"none", qos=0), first.publish(b"named", 4), first.publish(b"none", qos=0))
            await taken.intake.holds(5)
            columns = [each for each in taken.intake.emissions if each.packets is not None]
            assert dict(zip(columns[-1].payloads, columns[-1].packets or (), strict=True)) == {b"none": 0, b"named": 4}

    run(main())


@both
def test_acknowledgements_keep_the_order_of_the_messages(version: Version) -> None:
    async def main() -> None:
        intake = Intake(commits=False)
        async with scene(version, intake=intake) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1))
            await intake.holds(1)
            # Nobody wants this one, so it needs no disk; but it came second.
            first.send(first.publish(b"old", 2, retain=True), first.publish(b"b", 3))
            await intake.holds(2)
            intake._open[1].set_result(None)  # the later one is durable first
            await asyncio.sleep(0)
            assert first.acked() == []
            intake.commit()
            await eventually(lambda: len(first.acked()) == 3, "acknowledged")
            assert first.acked() == [1, 2, 3]
            assert taken.count("agent_mqtt_ignored_total", reason="retained") == 1

    run(main())


@both
def test_a_broker_that_dies_in_the_middle_of_a_packet_costs_nothing(version: Version) -> None:
    async def main() -> None:
        async with scene(version, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            whole = first.publish(b"x" * 1000, 1)
            first.send(whole[:500])
            await first.writer.drain()
            first.cut()
            second = await link(broker, 1)
            second.send(second.publish(b"x" * 1000, 1, dup=True))
            await taken.intake.holds(1)
            await eventually(lambda: second.acked() == [1], "acknowledged")
            assert taken.intake.payloads == [b"x" * 1000]

    run(main())


MALFORMED = [
    (packet(0x36, text("t/x") + b"\0\1\0x"), 0x81),  # QoS 3
    (b"\x30\xff\xff\xff\xff\x01", 0x81),  # a length of five bytes
    (packet(0x30, b"\x00\xffx\x00"), 0x81),  # a topic longer than its packet
    (packet(0x30, b"\x00\x02\xff\xfe\x00"), 0x81),  # a topic that is not UTF-8: the codec panics
    (packet(0x00, b""), 0x81),  # no such packet
    (packet(0x30, b"\x00\x00\x03\x23\x00\x07x"), 0x94),  # a topic alias, and we allow none
    (packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01x"), 0x82),  # a CONNECT, to a client
    (packet(0x20, b"\x00\x00\x00"), 0x82),  # a second CONNACK
    (b"\x30\xff\xff\xff\x7f" + b"x" * 100, 0x95),  # 256 MB to come
]


# The codec reports its panic to the interpreter as well.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("bad", "code"), MALFORMED)
def test_a_hostile_packet_ends_the_connection_with_the_right_reason(bad: bytes, code: int) -> None:
    async def main() -> None:
        async with scene("5") as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"good", 1), bad)
            second = await link(broker, 1)
            await eventually(lambda: first.of(wire.DISCONNECT), "a DISCONNECT")
            assert first.of(wire.DISCONNECT)[0].body[0] == code
            second.send(second.publish(b"better", 2))
            await taken.intake.holds(2)
            assert taken.intake.payloads == [b"good", b"better"]

    run(main())


@pytest.mark.parametrize(
    "bad",
    [
        packet(0x36, text("t/x") + b"\0\1x"),
        b"\x30\xff\xff\xff\xff\x01",
        packet(0x30, b"\x00\xffx"),
        packet(0x30, b"\x00\x02\xff\xfex"),
        packet(0xF0, b""),
        b"\x30\xff\xff\xff\x7f" + b"x" * 100,
    ],
)
def test_a_hostile_packet_ends_the_connection_under_3_1_1_too(bad: bytes) -> None:
    async def main() -> None:
        async with scene("3.1.1") as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"good", 1), bad)
            second = await link(broker, 1)
            second.send(second.publish(b"better", 2))
            await taken.intake.holds(2)
            assert taken.intake.payloads == [b"good", b"better"]

    run(main())


@both
def test_a_redelivery_is_known_by_packet_id_and_content(version: Version) -> None:
    async def main() -> None:
        async with scene(version, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1), first.publish(b"b", 2), first.publish(b"c", 3))
            await eventually(lambda: len(first.acked()) == 3, "acknowledged")
            first.cut()  # and the broker has lost those acknowledgements
            second = await link(broker, 1)
            second.send(
                second.publish(b"a", 1, dup=True),
                second.publish(b"other", 2, dup=True),  # the id was used again
                second.publish(b"c", 3),  # no redelivery: it does not say so
                second.publish(b"a", 1, dup=True, topic="t/y"),  # the same bytes on another topic
            )
            await eventually(lambda: len(second.acked()) == 4, "acknowledged")
            assert second.acked() == [1, 2, 3, 1]
            assert taken.intake.payloads == [b"a", b"b", b"c", b"other", b"c", b"a"]
            assert taken.count("agent_mqtt_redelivered_total") == 1

    run(main())


@both
def test_a_redelivery_waits_for_the_commit_of_its_first_copy(version: Version) -> None:
    async def main() -> None:
        intake = Intake(commits=False)
        async with scene(version, intake=intake, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1))
            await intake.holds(1)
            first.cut()
            second = await link(broker, 1)
            second.send(second.publish(b"a", 1, dup=True))
            await eventually(lambda: taken.count("agent_mqtt_redelivered_total") == 1, "known again")
            await eventually(lambda: second.of(wire.PINGREQ) or taken.part.state == "up", "some time passes")
            assert second.acked() == []
            intake.commit()
            await eventually(lambda: second.acked() == [1], "acknowledged")
            assert intake.payloads == [b"a"]

    run(main())


@both
def test_what_a_ping_confirmed_is_no_redelivery_any_more(version: Version) -> None:
    async def main() -> None:
        async with scene(version, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            confirmed = len(taken.redeliveries.confirmed)
            first.send(first.publish(b"on", 1))
            await eventually(lambda: len(taken.redeliveries.confirmed) > confirmed, "confirmed")
            assert first.acked() == [1]
            first.cut()
            second = await link(broker, 1)
            # The broker has used the id again, for another message that happens to say the same.
            second.send(second.publish(b"on", 1, dup=True))
            await taken.intake.holds(2)
            assert taken.count("agent_mqtt_redelivered_total") == 0

    run(main())


@both
def test_a_lost_session_is_said_and_its_table_forgotten(version: Version) -> None:
    async def main() -> None:
        with logged() as lines:
            async with scene(version, present=[False, False]) as (broker, taken):
                first = await link(broker, 0)
                first.send(first.publish(b"a", 1))
                await eventually(lambda: first.acked() == [1], "acknowledged")
                first.cut()
                second = await link(broker, 1)
                second.send(second.publish(b"a", 1, dup=True))
                await taken.intake.holds(2)
                assert taken.count("agent_mqtt_sessions_lost_total") == 1
                assert taken.count("agent_mqtt_redelivered_total") == 0
        assert [line["log_level"] for line in lines if line["event"] == "mqtt session lost"] == ["error"]

    run(main())


def test_qos_2_is_stored_once_and_confirmed_in_its_steps() -> None:
    async def main() -> None:
        intake = Intake(commits=False)
        async with scene("5", intake=intake, qos=2, present=[False, True]) as (broker, taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1, qos=2))
            await intake.holds(1)
            # The same id before its release is the same message, DUP or not.
            first.send(first.publish(b"a", 1, qos=2))
            await eventually(lambda: taken.count("agent_mqtt_redelivered_total") == 1, "known again")
            assert first.acked(wire.PUBREC) == []
            intake.commit()
            await eventually(lambda: first.acked(wire.PUBREC) == [1, 1], "received")
            await eventually(lambda: len(taken.redeliveries.confirmed) >= 2, "confirmed by a ping")
            first.cut()
            second = await link(broker, 1)
            second.send(second.publish(b"a", 1, qos=2, dup=True))
            await eventually(lambda: second.acked(wire.PUBREC) == [1], "received again")
            second.release(1)
            await eventually(lambda: second.acked(wire.PUBCOMP) == [1], "complete")
            second.send(second.publish(b"a", 1, qos=2))  # released: the next one of that id is another
            await intake.holds(2)
            second.release(77)  # of a session before our time
            await eventually(lambda: second.acked(wire.PUBCOMP) == [1, 77], "complete")
            assert intake.payloads == [b"a", b"a"]

    run(main())


@both
def test_reading_stops_when_too_much_waits_for_the_disk_and_pings_go_on(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_OUTSTANDING", 300_000)

    async def main() -> None:
        intake = Intake(commits=False)
        async with scene(version, intake=intake, keepalive=1.0) as (broker, _taken):
            first = await link(broker, 0)
            total = 400
            first.send(*[first.publish(b"%05d" % n + b"x" * 50_000, n) for n in range(1, total + 1)])
            await eventually(lambda: len(intake.payloads) >= 6, "some are read")
            pings = len(first.of(wire.PINGREQ))
            await eventually(lambda: len(first.of(wire.PINGREQ)) >= pings + 3, "pings")  # longer than the keepalive
            held = len(intake.payloads)
            assert held < total / 2
            assert first.acked() == []
            assert len(broker.links) == 1
            intake.commit()
            await intake.holds(total)
            assert [payload[:5] for payload in intake.payloads] == [b"%05d" % n for n in range(1, total + 1)]
            await eventually(lambda: len(first.acked()) == total, "acknowledged")
            assert len(broker.links) == 1

    run(main())


@both
def test_a_broker_that_answers_no_ping_is_left(version: Version) -> None:
    async def main() -> None:
        with logged() as lines:
            async with scene(version, keepalive=0.4) as (broker, _):
                broker.pongs = False
                await link(broker, 1)
        assert any("no answer to a ping" in str(line.get("reason")) for line in lines)

    run(main())


@both
def test_a_broker_that_answers_nothing_is_given_up(version: Version) -> None:
    async def main() -> None:
        broker = Broker(version, connack=lambda: None)
        async with broker.running():
            taken = collector(broker.url, "t/#", protocol=version, connect_timeout=0.3)
            async with taken.running(up=False):
                await eventually(lambda: taken.part.state == "down", "down")
                assert "no answer" in taken.part.reason or "timed out" in taken.part.reason
                await eventually(lambda: len(broker.links) >= 2, "another try")

    run(main())


REFUSALS: list[tuple[Version, int, str, str]] = [
    ("5", 0x86, "bad user name or password", "refusing"),
    ("5", 0x87, "not authorized", "refusing"),
    ("5", 0x88, "server unavailable", "down"),
    ("5", 0x97, "quota exceeded", "down"),
    ("3.1.1", 4, "bad user name or password", "refusing"),
    ("3.1.1", 5, "not authorized", "refusing"),
    ("3.1.1", 3, "server unavailable", "down"),
]


@pytest.mark.parametrize(("version", "code", "words", "state"), REFUSALS)
def test_a_refusal_is_said_by_its_name(version: Version, code: int, words: str, state: str) -> None:
    async def main() -> None:
        answers = [code, code]
        broker = Broker(version, connack=lambda: (False, answers.pop(0) if answers else 0))
        async with broker.running():
            with logged() as lines:
                taken = collector(broker.url, "t/#", protocol=version)
                async with taken.running():  # the third try is let in
                    pass
            refused = [line for line in lines if line["event"] == "mqtt cannot connect"]
            assert len(refused) == 1  # a state is said once, not at every try
            assert words in refused[0]["reason"]
            assert refused[0]["log_level"] == ("error" if state == "refusing" else "warning")

    run(main())


@both
def test_one_refused_subscription_costs_itself(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_REFUSED", 0.2)

    async def main() -> None:
        refused = 0x87 if version == "5" else 0x80
        broker = Broker(version, suback=lambda name: refused if name == "secret/#" else 1)
        async with broker.running():
            with logged() as lines:
                taken = collector(broker.url, "secret/#", "t/#", protocol=version)
                async with taken.running(up=False):
                    await eventually(lambda: taken.part.state == "down", "down")
                    assert "subscription refused: secret/#" in taken.part.reason
                    first = broker.links[0]
                    first.send(first.publish(b"a", 1))
                    await eventually(lambda: first.acked() == [1], "the other goes on")
                    await eventually(lambda: len(first.of(wire.SUBSCRIBE)) >= 4, "asked again")
                    broker.suback = lambda name: 1
                    await eventually(lambda: taken.part.state == "up", "granted at last")
                    assert len(broker.links) == 1
            said = [line for line in lines if line["event"] == "mqtt subscription refused"]
            assert [(line["log_level"], line["filter"]) for line in said] == [("error", "secret/#")]

    run(main())


@both
def test_a_client_id_used_twice_is_an_error_that_names_the_cause(version: Version) -> None:
    async def main() -> None:
        with logged() as lines:
            async with scene(version) as (broker, _):
                for number in range(3):
                    each = await link(broker, number)
                    if version == "5":
                        each.send(packet(0xE0, b"\x8e\x00"))
                    else:
                        each.writer.close()
                await link(broker, 3)
        twice = [line for line in lines if line["event"] == "mqtt client id used twice"]
        assert [line["log_level"] for line in twice] == ["error"]
        assert "another client connects with this client id" in twice[0]["cause"]

    run(main())


def test_flow_control_is_always_asked_for() -> None:
    async def main() -> None:
        async with scene("5") as (broker, _):
            first = await link(broker, 0)
            asked, _ = mqtt5.read(memoryview(packet(0x10, first.of(wire.CONNECT)[0].body)))
            assert isinstance(asked, mqtt5.ConnectPacket)
            assert asked.receive_max == 2000
            assert asked.max_packet_size == 272 * 1024
            assert asked.session_expiry_interval == 86_400
            assert not asked.clean_start
            assert asked.client_id == "agent-0123456789abcdef-plant"

    run(main())


@both
def test_a_payload_larger_than_agreed_is_handed_on_for_intake_to_judge(version: Version) -> None:
    async def main() -> None:
        async with scene(version) as (broker, taken):
            first = await link(broker, 0)
            large = b"x" * 1_000_000
            first.send(first.publish(b"a", 1), first.publish(large, 2), first.publish(b"b", 3))
            await taken.intake.holds(3)
            assert taken.intake.payloads == [b"a", large, b"b"]
            await eventually(lambda: first.acked() == [1, 2, 3], "acknowledged")

    run(main())


@both
def test_topics_of_an_earlier_configuration_are_unsubscribed_in_a_kept_session(version: Version) -> None:
    async def main() -> None:
        from dataclasses import replace

        broker = Broker(version, connack=lambda: (True, 0))
        async with broker.running():
            taken = collector(broker.url, "t/#", protocol=version)
            taken.context = replace(taken.context, previous=("t/#", "gone/+/x"))
            async with taken.running():
                first = broker.links[0]
                await eventually(lambda: first.of(wire.UNSUBSCRIBE), "unsubscribed")
                assert b"gone/+/x" in first.of(wire.UNSUBSCRIBE)[0].body
                assert len(first.of(wire.UNSUBSCRIBE)) == 1
                # What still comes for it is acknowledged, and no record.
                first.send(first.publish(b"late", 1, topic="gone/a/x"))
                await eventually(lambda: first.acked() == [1], "acknowledged")
                assert taken.intake.payloads == []
                assert taken.count("agent_mqtt_ignored_total", reason="unmatched") == 1

    run(main())


def test_after_a_quiet_moment_nothing_waits() -> None:
    async def main() -> None:
        async with scene("5", coalesce=1.0) as (broker, _taken):
            first = await link(broker, 0)
            clock = asyncio.get_running_loop().time
            for number in range(1, 4):
                await asyncio.sleep(1.1)  # the quiet moment
                sent = clock()
                first.send(first.publish(b"a", number))
                await eventually(lambda number=number: first.acked() == list(range(1, number + 1)), "acknowledged")
                assert clock() - sent < 0.5

    run(main())


def test_under_a_steady_load_reads_are_coalesced_and_nothing_is_late() -> None:
    async def main() -> None:
        async with scene("5") as (broker, taken):
            first = await link(broker, 0)
            sent = 0
            deadline = asyncio.get_running_loop().time() + 1.0
            while asyncio.get_running_loop().time() < deadline:
                sent += 1
                first.send(first.publish(b"a", sent))
                await asyncio.sleep(0.001)
            await taken.intake.holds(sent, timeout=1)
            assert sent > 200
            # Once a 20 ms and rarer, not once a message.
            assert len(taken.intake.emissions) < 70

    run(main())


@both
def test_the_last_commit_is_acknowledged_when_we_are_stopped(version: Version) -> None:
    async def main() -> None:
        intake = Intake(commits=False)
        async with scene(version, intake=intake) as (broker, _taken):
            first = await link(broker, 0)
            first.send(first.publish(b"a", 1))
            await intake.holds(1)
            asyncio.get_running_loop().call_later(0.1, intake.commit)
        await eventually(lambda: first.ended, "the end")
        assert first.acked() == [1]
        assert first.got[-1].kind == wire.DISCONNECT

    run(main())
