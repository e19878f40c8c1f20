"""kill -9 around the record that causes an event: no event is lost, and none is told again without need."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from processes import AgentProcess, wait_for
from relay import relay
from scene import Background, assert_books_balance, broker, is_subscribed, mqtt_collector, publish, subscribed

pytestmark = pytest.mark.mosquitto

CONFIG = """
[agent]
hostname = "edge"
lifecycle_events = ["start", "stop"]
lifecycle_jitter = "0"
[sinks.all]
type = "file"
path = "{folder}/all.ndjson"
[sinks.notes]
type = "file"
path = "{folder}/notes.ndjson"
select = "event.*"
[[events]]
name = "hot"
when = "mqtt.plant.value > 90"
max_per_hour = 3600
what = "{{tags.device}} has {{value}}"
"""


def notes(folder: Path, source: str) -> list[dict[str, Any]]:
    """The events that have arrived, each once: a batch that was under way at a kill may come twice."""
    path = folder / "notes.ndjson"
    lines = path.read_text().splitlines() if path.exists() else []
    return [event for event in map(json.loads, dict.fromkeys(lines)) if event["source"] == source]


def starts(folder: Path) -> int:
    """How many starts the agent has told of."""
    return sum(event["fields"].get("starts", 0) for event in notes(folder, "event.agent"))


def test_no_event_is_lost_whose_record_was_acknowledged(tmp_path: Path) -> None:
    messages, kills = 1500, 3
    rng = Random(7)
    with broker(tmp_path) as plant, relay(plant.port, delay=0.1) as line:
        tables = mqtt_collector(line.url, "plant/{device}") + CONFIG.format(folder=tmp_path)
        # The agent's tables have to stand before those of others.
        with AgentProcess(tmp_path / "agent", tables) as agent:
            agent.start()
            subscribed(agent)
            publishing = Background(
                lambda: publish(
                    plant,
                    range(messages),
                    payload=lambda n: b'{"value":%d}' % (91 + n),
                    topic=lambda n: f"plant/dev{n}",
                    rate=400,
                )
            )
            for _ in range(kills):
                count = len(notes(tmp_path, "event.hot"))
                wait_for("some events more", lambda count=count: len(notes(tmp_path, "event.hot")) > count)
                line.delay = rng.uniform(0.01, 0.1)
                agent.kill()
                agent.start(ready=False)
                wait_for("its session", lambda: is_subscribed(agent))
            assert len(publishing.result()) == messages
            wait_for(
                "an event of each device",
                lambda: len({e["tags"]["device"] for e in notes(tmp_path, "event.hot")}) == messages,
                60,
            )
            wait_for("the starts", lambda: starts(tmp_path) == 1 + kills)
            assert agent.stop() == 0
            assert_books_balance(agent)
        devices = Counter(event["tags"]["device"] for event in notes(tmp_path, "event.hot"))
        assert line.duplicates, "no acknowledgement was on its way at a kill: the test shows nothing"
        again = sum(count - 1 for count in devices.values())
        assert again <= line.duplicates, "only a message that comes again may be told of again"
        ends = [event for event in notes(tmp_path, "event.agent") if event["fields"]["state"] == "stopped"]
        assert {event["fields"]["clean"] for event in ends} == {False}
        assert "ended without a stop: kill or power cut" in ends[0]["fields"]["what"]


def test_a_kill_between_the_begin_and_the_end_of_a_state_loses_neither(tmp_path: Path) -> None:
    with broker(tmp_path) as plant:
        tables = mqtt_collector(plant.url, "plant/{device}") + CONFIG.format(folder=tmp_path)

        def send(number: int, value: int) -> None:
            payload = b'{"value":%d}' % value
            publish(plant, range(number, number + 1), payload=lambda _: payload, topic=lambda _: "plant/a")

        def stored() -> int:
            path = tmp_path / "all.ndjson"
            lines = path.read_text().splitlines() if path.exists() else []
            return sum(json.loads(line)["source"] == "mqtt.plant" for line in lines)

        with AgentProcess(tmp_path / "agent", tables) as agent:
            agent.start()
            subscribed(agent)
            send(0, 95)
            memory = agent.state / "events.json"
            wait_for("it to be remembered", lambda: memory.exists() and '"changed"' in memory.read_text())
            agent.kill()
            agent.start()
            subscribed(agent)
            send(1, 96)
            wait_for("the second record", lambda: stored() == 2)
            send(2, 10)
            wait_for("the end", lambda: len(notes(tmp_path, "event.hot")) == 2)
            assert agent.stop() == 0
        fired, over = notes(tmp_path, "event.hot")
        assert (fired["fields"]["state"], fired["fields"]["what"]) == ("firing", "a has 95")
        assert (over["fields"]["state"], over["fields"]["since"]) == ("clear", fired["fields"]["since"])


@pytest.mark.parametrize(("before", "value", "state"), [((95, 11), 96, "firing"), ((95,), 11, "clear")])
def test_a_kill_before_what_was_told_is_remembered_neither_loses_the_end_nor_the_next_begin(
    tmp_path: Path, before: tuple[int, ...], value: int, state: str
) -> None:
    """The file rests after a write, and the kill comes within that rest: the spool alone knows of the event."""
    numbers = iter(range(100))
    with broker(tmp_path) as plant:
        tables = mqtt_collector(plant.url, "plant/{device}") + CONFIG.format(folder=tmp_path)

        def send(device: str, value: int) -> None:
            number = next(numbers)
            publish(
                plant,
                range(number, number + 1),
                payload=lambda _: b'{"value":%d}' % value,
                topic=lambda _: f"plant/{device}",
            )

        def told(device: str) -> list[str]:
            events = notes(tmp_path, "event.hot")
            return [event["fields"]["state"] for event in events if event["tags"]["device"] == device]

        with AgentProcess(tmp_path / "agent", tables) as agent:
            agent.start()
            subscribed(agent)
            for n, each in enumerate(before):
                send("a", each)
                wait_for("the event of a", lambda n=n: len(told("a")) == n + 1)
            memory = agent.state / "events.json"
            send("b", 95)
            wait_for("b to be remembered", lambda: '"device":"b"' in memory.read_text())
            stale = memory.read_bytes()
            send("a", value)
            wait_for("the last event of a", lambda: len(told("a")) == len(before) + 1)
            agent.kill()
            # As a disk would leave it that is slower than the kill.
            memory.write_bytes(stale)
            agent.start()
            subscribed(agent)
            send("a", 11 if state == "firing" else 96)
            wait_for("what follows", lambda: len(told("a")) == len(before) + 2)
            assert agent.stop() == 0
        assert told("a")[-2:] == [state, "clear" if state == "firing" else "firing"]
        assert "are taken up" in agent.text()
