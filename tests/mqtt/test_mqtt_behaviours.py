"""What the collector does, against every broker that speaks each version of MQTT: one suite for both readers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brokers
import pytest
from brokers import Broker
from mqtt_harness import Collector, Intake, Version, collector, eventually, logged, publisher, run

from agent.collectors.mqtt import Subscription, connection
from agent.schema import Secret

SPEAKERS = [
    ("5", "mosquitto"),
    ("5", "iotcore"),
    ("3.1.1", "mosquitto"),
    ("3.1.1", "iotcore"),
    ("3.1.1", "amqtt"),
]


def start(kind: str, version: Version, directory: Path, **options: Any) -> contextlib.AbstractContextManager[Broker]:
    match kind:
        case "mosquitto":
            return brokers.mosquitto(directory, "max_queued_messages 0\nmax_packet_size 1048576", **options)
        case "iotcore":
            return brokers.iotcore(directory, version, **options)
        case _:
            return brokers.amqtt(directory, **options)


class Site:
    """A broker, the version spoken with it, and a topic and client id that no other test uses."""

    def __init__(self, broker: Broker, version: Version) -> None:
        self.broker = broker
        self.version: Version = version
        self.id = uuid.uuid4().hex[:12]
        self.root = f"plant/{self.id}"

    def collector(self, *topics: str | Subscription, **options: Any) -> Collector:
        options.setdefault("client_id", self.id)
        if self.broker.name == "amqtt":
            options.setdefault("username", "agent")
        return collector(self.broker.url, *topics, protocol=self.version, **options)

    async def publish(self, topic: str, *payloads: bytes, **options: Any) -> None:
        user = {"username": "device"} if self.broker.name == "amqtt" else {}

        def send() -> None:
            with publisher(self.broker.port, self.version, **user) as device:
                device.send(topic, *payloads, **options)

        await asyncio.to_thread(send)


def needs_redelivery(site: Site) -> None:
    if site.broker.name == "amqtt":
        pytest.skip("amqtt forgets what was in flight when a connection ends")


@pytest.fixture(scope="module", params=SPEAKERS, ids="-".join)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Broker, Version]]:
    version, kind = request.param
    with start(kind, version, tmp_path_factory.mktemp(kind)) as broker:
        yield broker, version


@pytest.fixture
def site(running: tuple[Broker, Version]) -> Site:
    return Site(*running)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_message_arrives_once_with_its_tags(site: Site, qos: int) -> None:
    async def main() -> None:
        taken = site.collector(Subscription(topic="plant/{site}/{device}/state", qos=qos))
        sent = [b'{"n":%d}' % n for n in range(50)]
        async with taken.running():
            await site.publish(f"{site.root}/press/state", *sent, qos=qos)
            await taken.intake.holds(50)
            await site.publish(f"{site.root}/end/state", b"{}", qos=qos)
            await taken.intake.holds(51)
        assert taken.intake.payloads == [*sent, b"{}"]
        assert taken.intake.tags[0] == {"topic": f"{site.root}/press/state", "site": site.id, "device": "press"}
        assert {stream.source for emission in taken.intake.emissions for stream in emission.streams} == {"mqtt.plant"}

    run(main())


@pytest.mark.parametrize("payload", [b"", os.urandom(256 * 1024 - 100)], ids=["empty", "256kB"])
def test_payloads_of_any_size_arrive_as_they_were(site: Site, payload: bytes) -> None:
    async def main() -> None:
        taken = site.collector(f"{site.root}/#")
        async with taken.running():
            await site.publish(f"{site.root}/a", payload, b"after")
            await taken.intake.holds(2)
        assert taken.intake.payloads == [payload, b"after"]

    run(main())


def test_retained_messages_come_only_where_they_are_wanted(site: Site) -> None:
    async def main() -> None:
        await site.publish(f"{site.root}/kept", b"retained", retain=True)
        unwanted = site.collector(f"{site.root}/#", client_id=f"{site.id}-a")
        wanted = site.collector(Subscription(topic=f"{site.root}/#", retained=True), client_id=f"{site.id}-b")
        async with unwanted.running(), wanted.running():
            await wanted.intake.holds(1)
            # A live message that asks to be retained is no retained message to who listens already.
            await site.publish(f"{site.root}/kept", b"live", retain=True)
            # amqtt sends a retained message once more to who listens already, sometimes before the live one.
            await wanted.intake.holds(2)
            while b"live" not in wanted.intake.payloads:
                await wanted.intake.holds(len(wanted.intake.payloads) + 1)
            await unwanted.intake.holds(1)
        if site.broker.name == "amqtt":
            assert set(wanted.intake.payloads) == {b"retained", b"live"}
        else:
            assert wanted.intake.payloads == [b"retained", b"live"]
        assert unwanted.intake.payloads == [b"live"]
        await site.publish(f"{site.root}/kept", b"", retain=True)

    run(main())


def test_a_group_shares_the_messages_and_loses_none(site: Site) -> None:
    if site.broker.name == "amqtt":
        pytest.skip("amqtt knows no shared subscriptions")

    async def main() -> None:
        topic = f"$share/{site.id}/{site.root}/#"
        first = site.collector(topic, client_id=f"{site.id}-1")
        second = site.collector(topic, client_id=f"{site.id}-2")
        sent = [b"%d" % n for n in range(200)]
        async with first.running(), second.running():
            await site.publish(f"{site.root}/x", *sent)
            both = [first.intake, second.intake]
            await eventually(lambda: sum(len(intake.payloads) for intake in both) >= 200, "200 messages")
        assert sorted(first.intake.payloads + second.intake.payloads) == sorted(sent)
        assert first.intake.payloads
        assert second.intake.payloads
        # The packet ids of that session are not those of the collector's own one: they are not stored.
        assert all(emission.packets is None for emission in first.intake.emissions)

    run(main())


def test_messages_sent_while_we_are_away_wait_in_the_session(site: Site) -> None:
    needs_redelivery(site)

    async def main() -> None:
        before = site.collector(f"{site.root}/#")
        async with before.running():
            await site.publish(f"{site.root}/x", b"1")
            await before.intake.holds(1)
        await site.publish(f"{site.root}/x", b"2", b"3")
        after = site.collector(f"{site.root}/#")
        async with after.running():
            await after.intake.holds(2)
            await site.publish(f"{site.root}/x", b"4")
            await after.intake.holds(3)
        assert after.intake.payloads == [b"2", b"3", b"4"]

    run(main())


def test_what_was_not_committed_is_not_acknowledged_and_comes_again(site: Site) -> None:
    needs_redelivery(site)

    async def main() -> None:
        before = site.collector(f"{site.root}/#", intake=Intake(commits=False))
        sent = [b"%d" % n for n in range(10)]
        async with before.running():
            await site.publish(f"{site.root}/x", *sent)
            await before.intake.holds(10)
        after = site.collector(f"{site.root}/#")
        async with after.running():
            await after.intake.holds(10)
        assert after.intake.payloads == sent
        assert after.count("agent_mqtt_redelivered_total") == 0

    run(main())


def test_what_a_crash_left_stored_but_unacknowledged_is_not_stored_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_redelivery(site)
    monkeypatch.setattr(connection, "TICK", 0.1)
    if site.broker.name == "iotcore":
        pytest.skip("rumqttd redelivers without DUP, against MQTT-3.3.1-1: nothing tells it from a new message")

    async def main() -> None:
        before = site.collector(f"{site.root}/#", intake=Intake(commits=False))
        sent = [b"%d" % n for n in range(10)]
        async with before.running():
            await site.publish(f"{site.root}/x", *sent)
            await before.intake.holds(10)
        assert len(before.intake.stored) == 10
        after = site.collector(f"{site.root}/#", table=before.intake.stored)
        async with after.running():
            await eventually(lambda: after.count("agent_mqtt_redelivered_total") == 10, "10 redelivered")
            await site.publish(f"{site.root}/x", b"new")
            await after.intake.holds(1)
            # A ping was answered: the broker has taken the acknowledgements.
            await eventually(lambda: after.redeliveries.confirmed, "confirmed")
        assert after.intake.payloads == [b"new"]
        # Acknowledged, too: nothing of it comes a third time.
        again = site.collector(f"{site.root}/#")
        async with again.running():
            await site.publish(f"{site.root}/x", b"newer")
            await again.intake.holds(1)
        assert again.intake.payloads == [b"newer"]

    run(main())


def test_it_comes_back_after_the_broker_was_killed(tmp_path: Path, running: tuple[Broker, Version]) -> None:
    version, kind = running[1], running[0].name

    async def main() -> None:
        with start(kind, version, tmp_path) as broker, logged() as lines:
            site = Site(broker, version)
            taken = site.collector(f"{site.root}/#")
            async with taken.running():
                await site.publish(f"{site.root}/x", b"before")
                await taken.intake.holds(1)
                broker.kill()
                await eventually(lambda: taken.part.state == "down", "down")
                await asyncio.to_thread(broker.start)
                await eventually(lambda: taken.part.state == "up", "up again", 20)
                await site.publish(f"{site.root}/x", b"after")
                await taken.intake.holds(2)
            assert taken.intake.payloads == [b"before", b"after"]
            said = [line["event"] for line in lines if line["event"] != "mqtt session lost"]
            assert said[:2] == ["mqtt connected", "mqtt disconnected"]
            assert said[-1] == "mqtt connected"

    run(main())


@pytest.mark.parametrize("word", ["wrong", "right"])
def test_bad_credentials_are_named_and_good_ones_let_in(
    tmp_path: Path, running: tuple[Broker, Version], word: str
) -> None:
    version, kind = running[1], running[0].name

    async def main() -> None:
        with _with_users(kind, version, tmp_path, {"agent": "right"}) as broker, logged() as lines:
            site = Site(broker, version)
            taken = site.collector(f"{site.root}/#", username="agent", password=Secret(word))
            async with taken.running(up=False):
                if word == "right":
                    await eventually(lambda: taken.part.state == "up", "up")
                    return
                await eventually(lambda: taken.part.state != "starting", "an answer")
                if kind != "iotcore":  # which closes the connection without a word
                    assert taken.part.state == "refusing"
                    assert "authorized" in taken.part.reason or "user name or password" in taken.part.reason
                    assert [line["log_level"] for line in lines] == ["error"]
                assert taken.part.state in ("refusing", "down")
                assert "wrong" not in str(lines)

    run(main())


def test_a_topic_that_the_broker_forbids_is_named_and_the_others_come(
    tmp_path: Path, running: tuple[Broker, Version]
) -> None:
    version, kind = running[1], running[0].name
    if kind == "iotcore":
        pytest.skip("rumqttd has no permissions by topic")

    async def main() -> None:
        with _forbidding(kind, tmp_path) as broker, logged() as lines:
            taken = Site(broker, version).collector("secret/#", "plant/#")
            async with taken.running(up=False):
                await eventually(lambda: taken.part.state == "down", "down")
                assert "subscription refused: secret/#" in taken.part.reason
                await Site(broker, version).publish("plant/a", b"allowed")
                await taken.intake.holds(1)
            assert [line["filter"] for line in lines if line["log_level"] == "error"] == ["secret/#"]

    run(main())


def _forbidding(kind: str, directory: Path) -> contextlib.AbstractContextManager[Broker]:
    """A broker that lets nobody subscribe to secret/#."""
    if kind == "amqtt":
        return brokers.amqtt(directory, subscribe_acl={"agent": ["plant/#"]})
    plugin = next(iter(Path("/usr/lib").rglob("mosquitto_dynamic_security.so")), None)
    if plugin is None:
        pytest.skip("this mosquitto has no dynamic security plugin")
    allowed = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), True)
    forbidden = {"acltype": "subscribePattern", "topic": "secret/#", "priority": 0, "allow": False}
    rules = directory / "security.json"
    rules.write_text(
        json.dumps(
            {
                "defaultACLAccess": allowed,
                "clients": [],
                "groups": [{"groupname": "anybody", "roles": [{"rolename": "limited"}], "clients": []}],
                "anonymousGroup": "anybody",
                "roles": [{"rolename": "limited", "acls": [forbidden]}],
            }
        )
    )
    return brokers.mosquitto(directory, f"plugin {plugin}\nplugin_opt_config_file {rules}")


def _with_users(
    kind: str, version: Version, directory: Path, users: dict[str, str]
) -> contextlib.AbstractContextManager[Broker]:
    if kind != "mosquitto":
        return start(kind, version, directory, users=users)
    passwords = directory / "passwords"
    passwords.write_text("".join(f"{name}:{word}\n" for name, word in users.items()))
    passwords.chmod(0o600)
    import subprocess

    assert brokers.MOSQUITTO_PASSWD is not None
    subprocess.run([brokers.MOSQUITTO_PASSWD, "-U", str(passwords)], check=True)
    return brokers.mosquitto(directory, f"password_file {passwords}", anonymous=False)
