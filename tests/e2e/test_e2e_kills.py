"""kill -9 at any moment, and a far side that fails meanwhile: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload
from relay import relay
from scene import (
    AGENT,
    DATASET,
    Background,
    Books,
    Cloud,
    assert_books_balance,
    broker,
    cloud,
    dead_letters,
    drained,
    is_subscribed,
    metric,
    mqtt_collector,
    obsrv_sink,
    publish,
    say,
    spool,
    subscribed,
    uid,
)

REDELIVERED = "agent_mqtt_redelivered_total"

# What goes wrong at the far side, as shares of the time it is published in: (from, for, fault, options).
TROUBLE: list[tuple[float, float, str, dict[str, Any]]] = [
    (0.03, 0.11, "unavailable", {}),
    (0.18, 0.07, "error", {"stored": True}),
    (0.28, 0.07, "reset", {"stage": "read"}),
    (0.39, 0.11, "hang", {"stage": "stored"}),
    (0.53, 0.07, "reset", {"stage": "stored"}),
    (0.64, 0.11, "unavailable", {"retry_after": 1}),
    (0.78, 0.07, "half_answer", {}),
    (0.89, 0.07, "hang", {"stage": "send"}),
]


def _survive(tmp_path: Path, capsys: pytest.CaptureFixture[str], *, messages: int, seconds: float, kills: int) -> None:
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    rng = Random(seed)
    moments = sorted(rng.uniform(0.3, seconds) for _ in range(kills))
    say(capsys, f"E2E_SEED={seed}: killed at {', '.join(f'{moment:.2f}' for moment in moments)} s")
    recognised = 0.0
    # The line is slow enough that at every kill some acknowledgements are on their way, and lost.
    with broker(tmp_path) as plant, cloud(tmp_path, DATASET, "part") as far, relay(plant.port, delay=0.12) as line:
        config = (
            AGENT
            # Small segments, so that some are filled and deleted; but room for all that an outage holds up.
            + spool(max_bytes="12MiB" if messages <= 10_000 else "24MiB")
            + mqtt_collector(line.url, "plant/{line}/{device}/state")
            + obsrv_sink(far.url, timeout="1s")
            + obsrv_sink(far.url, "part", dataset="part", timeout="1s", more='where = { line = "line3" }')
        )
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            publisher = Publisher(plant.port, log=tmp_path / "acknowledged")
            began = time.monotonic()
            for after, lasting, fault, options in TROUBLE:
                far.fault(fault, after=after * seconds, seconds=lasting * seconds, **options)
            publishing = Background(lambda: publisher.publish(range(messages), state_payload, rate=messages / seconds))
            for moment in moments:
                # The moment is the dice's choice; nothing is waited for here.
                time.sleep(max(0.0, began + moment - time.monotonic()))
                if is_subscribed(agent):
                    recognised += metric(agent, REDELIVERED)  # the counter dies with the process
                agent.kill()
                agent.start(ready=False)
            publishing.result(120)
            publisher.close()
            acknowledged = publisher.acknowledged
            assert len(acknowledged) == messages
            wanted = {DATASET: acknowledged, "part": {number for number in acknowledged if number % 7 == 3}}
            wait_for("all to be stored", lambda: _has_stored(far, wanted), 90)
            wait_for("the session to be up", lambda: is_subscribed(agent))
            wait_for("the queues to be empty", lambda: drained(agent) and drained(agent, "part"))
            took = time.monotonic() - began
            recognised += metric(agent, REDELIVERED)
            books = {dataset: Books.of(far, dataset) for dataset in wanted}
            twice = {dataset: each.twice() for dataset, each in books.items()}
            again = sum(each.sent_again for each in books.values())
            say(
                capsys,
                f"{messages} acknowledged, {len(books[DATASET].stored)} and {len(books['part'].stored)} stored after "
                f"{took:.1f} s, of them twice {twice}; {again} batches came again; "
                f"{line.duplicates} messages redelivered, {recognised:.0f} of them known to be stored already",
            )
            for dataset, numbers in wanted.items():
                assert books[dataset].missing(numbers) == []
                assert set(books[dataset].stored) == {uid(number) for number in numbers}
                assert books[dataset].conflicts == 0
            assert again > 0, "no batch was sent again: the far side did not fail at the right moments"
            assert line.duplicates > 0
            assert 0 < recognised <= line.duplicates
            # Where a kill falls between the commits of two lanes, what is in the first alone cannot be known again.
            assert sum(twice.values()) <= line.duplicates - recognised
            assert agent.stop() == 0
            assert_books_balance(agent)


def _has_stored(far: Cloud, wanted: Mapping[str, set[int]]) -> bool:
    stored = far.report()["stored"]
    return all(stored.get(dataset, 0) >= len(numbers) for dataset, numbers in wanted.items())


@pytest.mark.mosquitto
@pytest.mark.parametrize("messages", [10_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_every_message_the_broker_took_is_stored_once_through_kills_and_outages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], messages: int
) -> None:
    _survive(tmp_path, capsys, messages=messages, seconds=10.0, kills=5)


@pytest.mark.soak
@pytest.mark.mosquitto
def test_every_message_is_stored_once_through_a_hundred_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _survive(tmp_path, capsys, messages=200_000, seconds=200.0, kills=100)


def _mixed(number: int) -> bytes:
    if number % 500 == 7:
        return b'{"uid":"m-%d", broken' % number
    if number % 500 == 13:
        return b'{"uid":"m-%d","bad":true}' % number
    return state_payload(number)


@pytest.mark.mosquitto
def test_what_is_refused_becomes_one_dead_letter_through_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages, seconds = 5_000, 5.0
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    rng = Random(seed)
    moments = sorted(rng.uniform(0.3, seconds + 1.5) for _ in range(4))
    say(capsys, f"E2E_SEED={seed}: killed at {', '.join(f'{moment:.2f}' for moment in moments)} s")
    broken = {uid(number) for number in range(messages) if number % 500 == 7}
    refused = {uid(number) for number in range(messages) if number % 500 == 13}
    with broker(tmp_path) as plant, cloud(tmp_path) as far, relay(plant.port, delay=0.12) as line:
        far.fault("refuse_containing", text='"bad":true')
        config = AGENT + mqtt_collector(line.url) + obsrv_sink(far.url, timeout="1s")
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            publisher = Publisher(plant.port)
            began = time.monotonic()
            publishing = Background(lambda: publisher.publish(range(messages), _mixed, rate=messages / seconds))
            for moment in moments:
                time.sleep(max(0.0, began + moment - time.monotonic()))
                agent.kill()
                agent.start(ready=False)
            publishing.result(60)
            # Where a kill has left only what is refused, it waits for something that is taken to be told from.
            last = range(messages + 100, messages + 120)
            publisher.publish(last, state_payload)
            publisher.close()
            good = messages - len(broken) - len(refused) + len(last)
            wait_for("all to be stored", lambda: sum(far.report()["stored"].values()) >= good)
            wait_for("the refused to be settled", lambda: is_subscribed(agent) and drained(agent), 40)
            wait_for("the letters", lambda: len({_uid_of(letter) for letter in dead_letters(agent)}) == 20)
            letters = dead_letters(agent)
            books = Books.of(far)
            assert books.conflicts == 0
            assert books.twice() == 0
            assert set(books.stored) == {uid(number) for number in (*range(messages), *last)} - broken - refused
            assert Counter(_uid_of(letter) for letter in letters if letter["sink"] == "lake") == Counter(refused)
            intake = Counter(_uid_of(letter) for letter in letters if letter["sink"] == "intake")
            say(
                capsys,
                f"dead letters: {len(refused)} of the far side's, {sum(intake.values())} of intake's for {len(broken)}",
            )
            assert set(intake) == broken
            assert agent.stop() == 0
            assert_books_balance(agent)


def _uid_of(letter: dict[str, Any]) -> str:
    found = re.search(r"m-\d+", json.dumps(letter["payload"]))
    assert found, letter
    return found[0]


@pytest.mark.mosquitto
# In short for 5: the row near-dup of tests/faults.
@pytest.mark.parametrize("protocol", [pytest.param("5", marks=pytest.mark.soak), "3.1.1"])
def test_what_the_broker_sends_again_after_a_kill_is_acknowledged_and_not_stored_twice(
    tmp_path: Path, protocol: str
) -> None:
    with broker(tmp_path) as plant, cloud(tmp_path) as far, relay(plant.port) as line:
        collector = mqtt_collector(line.url, options=f'protocol = "{protocol}"')
        with AgentProcess(tmp_path / "agent", AGENT + collector + obsrv_sink(far.url)) as agent:
            agent.start()
            subscribed(agent)
            line.delay = 3600  # from here on no acknowledgement reaches the broker
            publish(plant, range(500))
            wait_for("all to be stored", lambda: sum(far.report()["stored"].values()) == 500)
            agent.kill()
            line.delay = 0
            agent.start()
            wait_for("the redelivery", lambda: is_subscribed(agent) and metric(agent, REDELIVERED) == 500)
            assert line.duplicates == 500
            publish(plant, range(500, 700))
            wait_for("the new ones", lambda: sum(far.report()["stored"].values()) == 700)
            assert metric(agent, REDELIVERED) == 500
            assert Books.of(far).twice() == 0
            agent.stop()
            # And they were acknowledged: after another start the broker has nothing left to send.
            agent.start()
            subscribed(agent)
            publish(plant, range(700, 701))
            wait_for("the last", lambda: sum(far.report()["stored"].values()) == 701)
            assert line.duplicates == 500
            assert agent.stop() == 0
            assert_books_balance(agent)
