"""State directories that are copied, deleted or rolled back: no name is ever used for other data."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from brokers import Broker
from processes import AgentProcess, wait_for
from publisher import Publisher, state_payload
from scene import (
    AGENT,
    Background,
    Books,
    Cloud,
    assert_books_balance,
    broker,
    cloud,
    drained,
    mqtt_collector,
    obsrv_sink,
    publish,
    say,
    subscribed,
    uid,
)

pytestmark = pytest.mark.mosquitto


def _config(plant: Broker, far: Cloud, topic: str = "plant/#", client_id: str = "edge-1") -> str:
    """A client id of its own, so that the session at the broker does not hang on the state directory."""
    # Small batches: many of them are planned and in flight at any moment.
    collector = mqtt_collector(plant.url, topic, options=f'client_id = "{client_id}"')
    return AGENT + collector + obsrv_sink(far.url, timeout="1s", more="batch_records = 40\nlinger = '50ms'")


def _copy(state: Path, to: Path) -> None:
    """Copy a directory that is being worked in, as a backup would: what vanishes meanwhile is left out."""
    subprocess.run(["cp", "-r", str(state), str(to)], check=False, capture_output=True)
    assert (to / "lanes").is_dir()


def _copy_slowly(state: Path, to: Path, rng: Random) -> None:
    """The same at its worst: file after file in any order, with time between, so that none belongs to another."""
    names = [path.relative_to(state) for path in state.rglob("*") if path.is_file()]
    rng.shuffle(names)
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(state / name, to / name)
        time.sleep(rng.uniform(0, 0.3))


@contextmanager
def _traffic(plant: Broker, far: Cloud, agent: AgentProcess, numbers: range) -> Iterator[Publisher]:
    """Within this messages come steadily, and batches are in flight: stored at the far side, but not answered."""
    publisher = Publisher(plant.port, f"publisher-{numbers.start}")
    publishing = Background(lambda: publisher.publish(numbers, state_payload, rate=2000))
    wait_for("some deliveries", lambda: far.report()["stored"].get("telemetry", 0) > 200)
    far.fault("hang", stage="stored", count=3)
    far.fault("error", stored=True, seconds=1)
    wait_for("batches in flight", lambda: agent.status()["sinks"]["lake"]["in_flight"] >= 2)
    yield publisher
    far.heal()
    publishing.result()
    publisher.close()


def _arrived(far: Cloud, numbers: set[int]) -> bool:
    stored = far.stored_ids("telemetry")
    return all(stored[uid(number)] for number in numbers)


def _assert_names_are_kept(far: Cloud) -> Books:
    books = Books.of(far)
    assert books.conflicts == 0
    assert books.sent_again > 0, "nothing was in flight"
    return books


def test_a_second_agent_on_a_copy_of_a_living_state_directory_reuses_no_name(tmp_path: Path) -> None:
    with broker(tmp_path) as plant, cloud(tmp_path) as far:
        first = AgentProcess(tmp_path / "first", _config(plant, far))
        second = AgentProcess(tmp_path / "second", _config(plant, far, "second/#", "edge-2"))
        with first, second:
            first.start()
            subscribed(first)
            with _traffic(plant, far, first, range(4000)) as publisher:
                _copy(first.state, second.state)
                second.start()
                subscribed(second)
                ours = publish(plant, range(10_000, 11_000), topic=lambda n: f"second/{n % 7}")
            wait_for("all of both", lambda: _arrived(far, publisher.acknowledged | ours))
            wait_for("empty queues", lambda: drained(first) and drained(second))
            assert [agent.stop() for agent in (first, second)] == [0, 0]
            # Each has its books, and both are true: the copy's records beyond its last whole frame never were its own.
            assert_books_balance(first)
            assert_books_balance(second)
            _assert_names_are_kept(far)


@pytest.mark.soak
def test_agents_on_many_copies_taken_at_any_moment_reuse_no_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    rng = Random(seed)
    say(capsys, f"E2E_SEED={seed}")
    damaged = 0
    with (
        broker(tmp_path) as plant,
        cloud(tmp_path) as far,
        AgentProcess(tmp_path / "agent", _config(plant, far)) as agent,
    ):
        agent.start()
        subscribed(agent)
        publisher = Publisher(plant.port, "steady")
        publishing = Background(lambda: publisher.publish(range(40_000), state_payload, rate=1000))
        for number in range(15):
            far.fault("hang", stage="stored", count=3, after=rng.random())
            far.fault("error", stored=True, seconds=1, after=rng.random())
            time.sleep(rng.uniform(0.2, 2))  # any moment
            other = AgentProcess(tmp_path / f"copy{number}", _config(plant, far, f"copy{number}/#", f"copy-{number}"))
            with other:
                torn = number % 2 == 1
                if torn:
                    _copy_slowly(agent.state, other.state, rng)
                else:
                    _copy(agent.state, other.state)
                other.start()
                subscribed(other)
                ours = publish(
                    plant,
                    range(100_000 + 100 * number, 100_100 + 100 * number),
                    topic=lambda n, number=number: f"copy{number}/{n % 7}",
                )
                wait_for("its own", partial(_arrived, far, ours))
                wait_for("an empty queue", partial(drained, other))
                damaged += other.status()["sinks"]["lake"]["ledger"]["damaged"]
                assert other.stop() == 0
                if not torn:  # a torn one lacks what its cursor says is delivered, and `audit` says so
                    assert_books_balance(other)
        publishing.result(120)
        publisher.close()
        wait_for("all of the first", lambda: _arrived(far, publisher.acknowledged))
        wait_for("an empty queue", lambda: drained(agent))
        assert agent.stop() == 0
        assert_books_balance(agent)
        books = _assert_names_are_kept(far)
        say(
            capsys,
            f"{books.sent_again} batches came again; {damaged} records missing from copies, booked as damaged",
        )


def test_a_state_directory_deleted_with_batches_in_flight_costs_nothing_that_comes_after(tmp_path: Path) -> None:
    with (
        broker(tmp_path) as plant,
        cloud(tmp_path) as far,
        AgentProcess(tmp_path / "agent", _config(plant, far)) as agent,
    ):
        agent.start()
        subscribed(agent)
        with _traffic(plant, far, agent, range(3000)):
            agent.kill()
            shutil.rmtree(agent.state)
            later = publish(plant, range(10_000, 11_000))  # while it is down
            agent.start()
            subscribed(agent)
            later |= publish(plant, range(11_000, 12_000))
        wait_for("all that came after", lambda: _arrived(far, later))
        wait_for("an empty queue", lambda: drained(agent))
        assert agent.stop() == 0
        assert_books_balance(agent)
        assert Books.of(far).conflicts == 0


# In short: the row state-rolled-back of tests/faults.
@pytest.mark.soak
def test_a_state_directory_rolled_back_to_an_older_copy_reuses_no_name(tmp_path: Path) -> None:
    with (
        broker(tmp_path) as plant,
        cloud(tmp_path) as far,
        AgentProcess(tmp_path / "agent", _config(plant, far)) as agent,
    ):
        agent.start()
        subscribed(agent)
        with _traffic(plant, far, agent, range(4000)) as publisher:
            _copy(agent.state, tmp_path / "older")
        wait_for("all of the first run", lambda: _arrived(far, publisher.acknowledged))
        with _traffic(plant, far, agent, range(4000, 6000)):
            agent.kill()
            shutil.rmtree(agent.state)
            shutil.copytree(tmp_path / "older", agent.state, ignore=shutil.ignore_patterns("control.sock"))
            later = publish(plant, range(10_000, 11_000))
            agent.start()
            subscribed(agent)
            later |= publish(plant, range(11_000, 12_000))
        wait_for("all that came after", lambda: _arrived(far, later))
        wait_for("an empty queue", lambda: drained(agent))
        assert agent.stop() == 0
        assert_books_balance(agent)
        _assert_names_are_kept(far)
