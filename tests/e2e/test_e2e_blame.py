"""What the far side refuses, and what it makes of values: seen from its side, with the whole agent before it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload
from scene import (
    AGENT,
    DATASET,
    assert_books_balance,
    broker,
    cloud_inside,
    dead_letters,
    health,
    mqtt_collector,
    obsrv_sink,
    publish,
    settled,
    subscribed,
    uid,
)

from agent.sandbox import faults
from agent.sandbox.obsrv import Sandbox

pytestmark = pytest.mark.mosquitto

BATCH = 500
REFUSAL = "#required must have required property 'mid'"


def _stored(far: Sandbox) -> Counter[str]:
    return far.ledger.ids(DATASET)


def _is(number: int) -> Any:
    def matches(record: Mapping[str, Any]) -> bool:
        return bool(record["fields"]["uid"] == uid(number))

    return matches


def _first_batch_is_out(plant_port: int, far: Sandbox) -> None:
    """After a quiet time the first record goes alone; those that come within the next second fill a batch."""
    publisher = Publisher(plant_port, "herald")
    publisher.publish(range(9999, 10000), state_payload)
    publisher.close()
    wait_for("the first to be stored", lambda: _stored(far)[uid(9999)])


def test_one_bad_record_in_a_batch_costs_itself_and_few_requests(tmp_path: Path) -> None:
    with broker(tmp_path) as plant, cloud_inside() as far:
        config = AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            far.faults.add(faults.refuse_matching(_is(237), message=REFUSAL))
            _first_batch_is_out(plant.port, far)
            before = len(far.requests)
            publish(plant, range(BATCH))
            wait_for("the batch to be settled", lambda: settled(agent, BATCH + 1))
            requests = far.requests[before:]
            assert requests[0].records == BATCH, "the test wants one batch of them all"
            assert len(requests) <= 20  # 2 log2(500) + 2, and once more
            assert _stored(far) == Counter(uid(n) for n in (*range(BATCH), 9999) if n != 237)
            ledger = agent.status()["sinks"]["lake"]["ledger"]
            assert (ledger["delivered"], ledger["dead"]) == (BATCH, 1)
            [letter] = wait_for("the letter", lambda: dead_letters(agent))
            assert letter["sink"] == "lake"
            assert letter["status"] == 400
            assert REFUSAL in letter["answer"]
            assert '"uid":"m-237"' in json.dumps(letter["payload"]).replace("\\", "").replace(" ", "")
            shown = agent.command("dead-letters", "show", letter["id"], check=True).stdout
            assert "m-237" in shown
            assert REFUSAL in shown
            assert agent.stop() == 0
            assert_books_balance(agent)


# In short: the row far-refuses-all of tests/faults.
@pytest.mark.soak
def test_a_server_that_refuses_everything_for_a_while_gets_all_of_it_when_it_relents(tmp_path: Path) -> None:
    with broker(tmp_path) as plant, cloud_inside() as far:
        config = AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            refusing = far.faults.add(faults.refuse(REFUSAL))
            publish(plant, range(2000))
            wait_for("the agent to see it", lambda: _state(agent) == "refusing")
            assert health(agent, "delivery")[0] == 503
            assert REFUSAL in health(agent, "delivery")[1]["sinks"]["lake"]["reason"]
            before, since = len(far.requests), time.monotonic()
            wait_for("probes", lambda: len(far.requests) >= before + 3)
            publish(plant, range(2000, 2100))
            # A spell of it: the backoff reaches four seconds meanwhile.
            wait_for("seven seconds of refusal", lambda: time.monotonic() - since > 7)
            assert len(far.requests) - before <= 10, "one probe at a time, by backoff"
            assert health(agent, "ready")[0] == 200
            far.faults.remove(refusing)
            wait_for("all to be stored", lambda: len(_stored(far)) == 2100)
            wait_for("an empty queue", lambda: settled(agent, 2100))
            assert set(_stored(far).values()) == {1}
            assert dead_letters(agent) == []
            assert agent.status()["sinks"]["lake"]["ledger"]["dead"] == 0
            assert agent.text().count("sink refuses everything") == 1
            assert agent.stop() == 0
            assert_books_balance(agent)


def _state(agent: AgentProcess) -> str:
    return str(agent.status()["sinks"]["lake"]["state"])


def test_an_error_after_storing_and_the_retry_make_one_copy(tmp_path: Path) -> None:
    with broker(tmp_path) as plant, cloud_inside() as far:
        config = AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            _first_batch_is_out(plant.port, far)
            far.faults.add(faults.error(stored=True, count=1))
            publish(plant, range(BATCH))
            wait_for("the batch to be settled", lambda: settled(agent, BATCH + 1))
            assert set(_stored(far).values()) == {1}
            assert len(_stored(far)) == BATCH + 1
            assert Counter(item.reason for item in far.lost) == {"duplicate batch": BATCH}
            assert far.conflicts == []
            assert agent.status()["sinks"]["lake"]["ledger"]["delivered"] == BATCH + 1
            assert agent.stop() == 0
            assert_books_balance(agent)


VALUES = {
    "u64": 18_446_744_073_709_551_615,
    "i64": -9_223_372_036_854_775_808,
    "ns": 1_668_591_949_682_123_457,
    "just_safe": 9_007_199_254_740_991,
    "just_beyond": 9_007_199_254_740_993,
}


def test_large_integers_arrive_to_the_last_digit(tmp_path: Path) -> None:
    with broker(tmp_path) as plant, cloud_inside() as far:
        config = AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            publish(plant, range(1), payload=lambda n: json.dumps({"uid": uid(n), **VALUES, "deep": [VALUES]}).encode())
            wait_for("the record", lambda: len(_stored(far)) == 1)
            [stored] = far.stored(DATASET)
            fields = stored.event["fields"]
            # JavaScript has doubles: what they cannot hold goes as text, what they can stays a number.
            expected = {name: value if name == "just_safe" else str(value) for name, value in VALUES.items()}
            assert fields == {"uid": uid(0), **expected, "deep": [expected]}
            assert agent.stop() == 0


SEOUL = ZoneInfo("Asia/Seoul")
CLOCKS = {
    "ms": 'time = { key = "at", format = "ms" }',
    "ns": 'time = { key = "header.at", format = "ns" }',
    "local": 'time = { key = "at", format = "%Y-%m-%d %H:%M:%S.%f", tz = "Asia/Seoul" }',
}


def test_what_waited_in_the_broker_arrives_with_the_devices_times(tmp_path: Path) -> None:
    base = datetime.now(SEOUL).replace(microsecond=0) - timedelta(hours=1)
    kinds = list(CLOCKS)

    def moment(number: int) -> datetime:
        return base + timedelta(milliseconds=7 * number)

    def milliseconds(number: int) -> int:
        return int(base.timestamp()) * 1000 + 7 * number

    def payload(number: int) -> bytes:
        kind = kinds[number % len(kinds)]
        body: dict[str, Any] = {"uid": uid(number)}
        if kind == "ms":
            body["at"] = milliseconds(number)
        elif kind == "ns":
            body["header"] = {"at": milliseconds(number) * 1_000_000 + 999_999}
        else:
            body["at"] = moment(number).strftime("%Y-%m-%d %H:%M:%S.%f")
        return json.dumps(body).encode()

    with broker(tmp_path) as plant, cloud_inside() as far:
        collector = f'[collectors.plant]\ntype = "mqtt"\nurl = "{plant.url}"\n'
        for kind, clock in CLOCKS.items():
            collector += f'[[collectors.plant.subscription]]\ntopic = "plant/{kind}/#"\n{clock}\n'
        with AgentProcess(tmp_path / "agent", AGENT + collector + obsrv_sink(far.url)) as agent:
            agent.start()
            subscribed(agent)
            assert agent.stop() == 0
            publish(plant, range(1000), payload=payload, topic=lambda n: f"plant/{kinds[n % len(kinds)]}/dev{n % 50}")
            agent.start()
            wait_for("all to be stored", lambda: len(_stored(far)) == 1000)
            assert set(_stored(far).values()) == {1}
            times = {stored.event["fields"]["uid"]: stored.event["ts"] for stored in far.stored(DATASET)}
            assert times == {uid(number): milliseconds(number) for number in range(1000)}
            wait_for("an empty queue", lambda: settled(agent, 1000))
            assert agent.stop() == 0
            assert_books_balance(agent)
