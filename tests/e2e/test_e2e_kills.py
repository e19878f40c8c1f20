"""kill -9 at any moment, and a far side that fails meanwhile: nothing acknowledged is lost, nothing is renamed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

import pytest
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload
from scene import (
    AGENT,
    Background,
    Books,
    assert_books_balance,
    broker,
    cloud,
    drained,
    metric,
    mqtt_collector,
    obsrv_sink,
    say,
    subscribed,
)

MESSAGES = 50_000
PUBLISHING_SECONDS = 14.0
KILLS = 5

# What goes wrong at the far side while it is published: (from second, for seconds, fault, options).
TROUBLE = [
    (0.5, 1.5, "unavailable", {}),
    (2.5, 1.0, "error", {"stored": True}),
    (4.0, 1.0, "reset", {"stage": "read"}),
    (5.5, 1.5, "hang", {"stage": "stored"}),
    (7.5, 1.0, "reset", {"stage": "stored"}),
    (9.0, 1.5, "unavailable", {"retry_after": 1}),
    (11.0, 1.0, "half_answer", {}),
    (12.5, 1.0, "hang", {"stage": "send"}),
]


def _survive(tmp_path: Path, capsys: pytest.CaptureFixture[str], messages: int, seconds: float, kills: int) -> None:
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    rng = Random(seed)
    moments = sorted(rng.uniform(0.3, seconds) for _ in range(kills))
    say(capsys, f"E2E_SEED={seed}; killed at {', '.join(f'{moment:.2f}' for moment in moments)} s")
    redelivered = 0.0
    with broker(tmp_path) as plant, cloud(tmp_path) as far:
        config = AGENT + mqtt_collector(plant) + obsrv_sink(far.url, timeout="1s")
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            publisher = Publisher(plant.port, log=tmp_path / "acknowledged")
            publishing = Background(
                lambda: publisher.publish(range(messages), state_payload, rate=messages / seconds)
            )
            for after, lasting, fault, options in TROUBLE:
                far.fault(fault, after=after, seconds=lasting, **options)
            began = time.monotonic()
            for moment in moments:
                left = began + moment - time.monotonic()
                if left > 0:
                    time.sleep(left)  # the moment is the test's own choice, nothing is waited for
                agent.kill()
                agent.start(ready=False)
                # The counter dies with the process: what this life has recognised is read before the next kill.
                wait_for("the session to stand again", lambda: _is_connected(agent))
                redelivered += metric(agent, "agent_mqtt_redelivered_total") if moment is not moments[-1] else 0
            publishing.result(120)
            publisher.close()
            acknowledged = publisher.acknowledged
            assert len(acknowledged) == messages
            wait_for("all to be stored", lambda: sum(far.report()["stored"].values()) >= messages, 120)
            wait_for("the queue to be empty", lambda: drained(agent))
            redelivered += metric(agent, "agent_mqtt_redelivered_total")
            books = Books.of(far)
            say(
                capsys,
                f"{messages} acknowledged, {len(books.stored)} stored in {time.monotonic() - began:.1f} s; {books.twice()} of them "
                f"twice; {books.sent_again} batches sent again under the same name; {redelivered:.0f} redeliveries recognised",
            )
            assert books.missing(acknowledged) == []
            assert books.conflicts == 0
            assert books.sent_again > 0, "no batch was sent again: the far side did not fail at the right moments"
            assert books.twice() == 0
            assert agent.stop() == 0
            assert_books_balance(agent)


def _is_connected(agent: AgentProcess) -> bool:
    assert agent.child is not None
    assert agent.child.poll() is None, agent.text()
    try:
        return agent.status()["collectors"]["plant"]["state"] == "up"
    except (AssertionError, KeyError):
        return False


@pytest.mark.mosquitto
def test_every_message_the_broker_took_is_stored_through_kills_and_outages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _survive(tmp_path, capsys, MESSAGES, PUBLISHING_SECONDS, KILLS)
