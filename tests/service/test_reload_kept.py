"""SIGHUP: what did not change keeps its connection, and what did goes on with what was under way."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker
from e2e.relay import relay
from e2e.scene import (
    AGENT,
    assert_books_balance,
    broker,
    in_a_thread,
    is_subscribed,
    metric,
    obsrv_sink,
    publish,
    subscribed,
)
from far_side import Act, FarSide, Request, far_side, said
from processes import AgentProcess, wait_for
from reloading import arrived, configured, connects, file_sink, once, outcomes, reload

pytestmark = pytest.mark.mosquitto

TAKEN = said(200, id="api.data.in", params={"status": "SUCCESS"}, responseCode="OK")


def after(released: threading.Event) -> Act:
    """Take the request once that has happened."""

    async def act(writer: asyncio.StreamWriter) -> None:
        while not released.is_set():
            await asyncio.sleep(0.005)
        await TAKEN(writer)

    return act


def lake(far: FarSide, more: str = "") -> str:
    return obsrv_sink(far.url, timeout="30s", more=f'gzip = false\nin_flight = 1\nlinger = "20ms"\n{more}')


def msgid(request: Request) -> str:
    return str(json.loads(request.body)["params"]["msgid"])


def uids(requests: list[Request]) -> list[int]:
    events: list[Any] = [event for each in requests for event in json.loads(each.body)["data"]]
    return [int(event["fields"]["uid"][2:]) for event in events]


def test_what_did_not_change_keeps_its_connections_and_the_request_under_way(tmp_path: Path) -> None:
    released = threading.Event()
    with (
        broker(tmp_path) as plant,
        in_a_thread(far_side(TAKEN, after(released), TAKEN)) as far,
        AgentProcess(tmp_path / "agent", configured(plant, lake(far), file_sink(tmp_path / "0", "other"))) as agent,
    ):
        agent.start()
        subscribed(agent)
        publish(plant, range(10))
        wait_for("the first", lambda: len(far.requests) == 1)
        publish(plant, range(10, 20))
        wait_for("a request under way", lambda: len(far.requests) == 2)
        for n in range(1, 8):
            # Other selections and rules have intake wait and be changed; the lake hears nothing of it.
            other = file_sink(tmp_path / f"{n}", "other", f'exclude = ["none-{n}"]')
            rules = f'[[events]]\nname = "hot"\nwhen = "mqtt.plant.temperature > {100 + n}"\n'
            level = '[log]\nlevel = "debug"\n' if n % 2 else ""
            assert reload(agent, configured(plant, lake(far), other, rules, level)).startswith("reloaded")
        publish(plant, range(20, 30))
        released.set()
        wait_for("the rest", lambda: sorted(uids(far.requests)) == list(range(30)))
        assert far.connections == 1 == connects(plant)
        assert len({msgid(each) for each in far.requests}) == len(far.requests)
        assert "kept=2 " in outcomes(agent)[-1]
        assert 'changed=["sinks.other", "events.hot"]' in outcomes(agent)[-1]
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_a_changed_sink_sends_what_hangs_again_under_its_name_and_the_reload_does_not_wait_for_it(
    tmp_path: Path,
) -> None:
    never = threading.Event()
    with (
        broker(tmp_path) as plant,
        in_a_thread(far_side(after(never), TAKEN)) as far,
        AgentProcess(tmp_path / "agent", configured(plant, lake(far))) as agent,
    ):
        agent.start()
        subscribed(agent)
        publish(plant, range(10))
        wait_for("a request under way", lambda: len(far.requests) == 1)
        publish(plant, range(10, 15))
        began = time.monotonic()
        assert reload(agent, configured(plant, lake(far, "batch_records = 3"))).startswith("reloaded")
        assert time.monotonic() - began < 5
        wait_for("the rest", lambda: sorted(uids(far.requests[1:])) == list(range(15)))
        hanging, again, *_ = far.requests
        assert again.connection > hanging.connection
        assert (msgid(hanging), hanging.body) == (msgid(again), again.body)
        assert connects(plant) == 1
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_a_changed_sink_waits_a_moment_for_the_answer_to_what_is_under_way(tmp_path: Path) -> None:
    released = threading.Event()
    with (
        broker(tmp_path) as plant,
        in_a_thread(far_side(after(released), TAKEN)) as far,
        AgentProcess(tmp_path / "agent", configured(plant, lake(far))) as agent,
    ):
        agent.start()
        subscribed(agent)
        publish(plant, range(10))
        wait_for("a request under way", lambda: len(far.requests) == 1)
        threading.Timer(0.2, released.set).start()
        assert reload(agent, configured(plant, lake(far, "batch_records = 3"))).startswith("reloaded")
        publish(plant, range(10, 15))
        wait_for("the rest", lambda: len(uids(far.requests)) >= 15)
        assert sorted(uids(far.requests)) == list(range(15))
        assert agent.stop() == 0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_a_changed_collector_could_not_acknowledge_comes_again_and_is_stored_once(
    tmp_path: Path, protocol: str
) -> None:
    out = tmp_path / "out"

    def config(line: str, tags: str) -> str:
        return configured(line, file_sink(out), options=f'protocol = "{protocol}"\ntags = {{ line = "{tags}" }}')

    with (
        broker(tmp_path) as plant,
        relay(plant.port) as line,
        AgentProcess(tmp_path / "agent", config(line.url, "one")) as agent,
    ):
        agent.start()
        subscribed(agent)
        publish(plant, range(100))
        wait_for("the first", lambda: len(arrived(out)) == 100)
        line.delay = 3600  # from here on no acknowledgement reaches the broker
        publish(plant, range(100, 300))
        wait_for("those", lambda: len(arrived(out)) == 300)
        agent.configure(config(line.url, "two"))
        assert agent.child is not None
        agent.child.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: outcomes(agent))
        line.delay = 0
        wait_for("what came again", lambda: metric(agent, "agent_mqtt_redelivered_total") >= 200)
        subscribed(agent)
        publish(plant, range(300, 400))
        wait_for("the last", lambda: len(arrived(out)) == 400)
        assert arrived(out) == once(range(400))
        tags = [json.loads(each)["tags"]["line"] for each in out.read_text().splitlines()]
        assert tags == ["one"] * 300 + ["two"] * 100
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_a_subscription_that_goes_is_taken_out_of_the_session(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def config(plant: Broker, topic: str) -> str:
        return configured(plant, file_sink(out)).replace('topic = "plant/#"', f'topic = "{topic}"')

    with (
        broker(tmp_path) as plant,
        AgentProcess(tmp_path / "agent", config(plant, "a/#")) as agent,
    ):
        agent.start()
        subscribed(agent)
        for topic in ("b/#", "c/#", "d/#"):
            reload(agent, config(plant, topic))
        wait_for("the last to connect", lambda: connects(plant) == 4 and is_subscribed(agent))
        for n, topic in enumerate("abcd"):
            publish(plant, range(n, n + 1), topic=lambda n, topic=topic: f"{topic}/x", client_id=topic)
        wait_for("what is subscribed to", lambda: arrived(out))
        assert arrived(out) == once(range(3, 4))
        assert metric(agent, "agent_mqtt_ignored_total", reason="unmatched") == 0
        assert agent.stop() == 0


def test_a_rule_that_did_not_change_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rule = '[[events]]\nname = "{name}"\nwhen = "mqtt.plant.v > {over}"\n'

    def told() -> list[tuple[str, str]]:
        records = [json.loads(each) for each in out.read_text().splitlines()] if out.exists() else []
        return [
            (record["source"], record["fields"]["state"]) for record in records if record["source"].startswith("event.")
        ]

    def send(number: int, value: int) -> None:
        payload = b'{"uid":"m-%d","v":%d}' % (number, value)
        publish(plant, range(number, number + 1), payload=lambda n: payload, topic=lambda n: "plant/x")
        wait_for("it to be stored", lambda: number in arrived(out))

    with broker(tmp_path) as plant:
        sink, hot = file_sink(out), rule.format(name="hot", over=10)
        with AgentProcess(tmp_path / "agent", configured(plant, sink)) as agent:
            agent.start()
            subscribed(agent)
            reload(agent, configured(plant, sink, hot))  # the first rule there is
            send(0, 20)
            wait_for("the event", lambda: told() == [("event.hot", "firing")])
            reload(agent, configured(plant, sink, hot, rule.format(name="warm", over=5)))
            send(1, 20)
            wait_for("the other's", lambda: told()[1:] == [("event.warm", "firing")])
            reload(agent, configured(plant, sink, hot + "max_per_hour = 10\n"))  # another that watches the same
            send(2, 1)
            wait_for("the end", lambda: told()[2:] == [("event.hot", "clear")])
            assert connects(plant) == 1
            reload(agent, configured(plant, sink))
            assert agent.stop() == 0
            assert not (agent.state / "events.json").exists()


def test_the_agent_itself_starts_anew_where_a_swap_is_not_enough(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        broker(tmp_path) as plant,
        AgentProcess(tmp_path / "agent", configured(plant, file_sink(out))) as agent,
    ):
        agent.start()
        subscribed(agent)
        other = AGENT.replace("edge", "other")
        assert "starts anew" in reload(agent, configured(plant, file_sink(out), agent=other))
        wait_for("the second start", lambda: connects(plant) == 2 and is_subscribed(agent))
        publish(plant, range(5))
        wait_for("the messages", lambda: arrived(out) == once(range(5)))
        assert {json.loads(each)["tags"]["host"] for each in out.read_text().splitlines()} == {"other"}
        assert reload(agent, configured(plant, file_sink(out, more="keep = 3"), agent=other)).startswith("reloaded")
        assert connects(plant) == 2
        assert agent.stop() == 0
