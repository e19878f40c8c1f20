"""SIGHUP: sinks that come, go, change their names and what they select; and a kill in the middle of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from e2e.scene import (
    DATASET,
    Background,
    Books,
    assert_books_balance,
    broker,
    cloud,
    drained,
    is_subscribed,
    obsrv_sink,
    publish,
    say,
    subscribed,
)
from processes import AgentProcess, get, wait_for
from publisher import Publisher, state_payload
from reloading import arrived, configured, connects, file_sink, hup, once, reload

pytestmark = pytest.mark.mosquitto


def books(agent: AgentProcess) -> list[dict[str, Any]]:
    """The cursors, by `audit`."""
    found: list[dict[str, Any]] = json.loads(agent.command("audit", "--json").stdout)["cursors"]
    return found


def test_a_removed_sink_is_retired_and_a_new_one_begins_where_it_is_told_to(tmp_path: Path) -> None:
    out, gone, new, old = (tmp_path / name for name in ("out", "gone", "new", "old"))
    with (
        broker(tmp_path) as plant,
        AgentProcess(tmp_path / "agent", configured(plant, file_sink(out), file_sink(gone, "gone"))) as agent,
    ):
        agent.start()
        subscribed(agent)
        publish(plant, range(100))
        wait_for("the first", lambda: arrived(out) == arrived(gone) == once(range(100)))
        newest, oldest = file_sink(new, "new", 'start = "newest"'), file_sink(old, "old")
        said = reload(agent, configured(plant, file_sink(out), newest, oldest))
        assert 'added=["sinks.new", "sinks.old"] removed=["sinks.gone"]' in said
        publish(plant, range(100, 200))
        wait_for("the second", lambda: arrived(out) == arrived(old) == once(range(200)))
        wait_for("the new one's", lambda: arrived(new) == once(range(100, 200)))
        assert arrived(gone) == once(range(100))
        status = agent.status()
        assert sorted(status["sinks"]) == ["new", "old", "out"]
        assert {part["name"] for part in status["parts"] if part["kind"] == "sink"} == {"new", "old", "out"}
        metrics = get(f"http://127.0.0.1:{agent.port}/metrics")[1].decode()
        assert 'sink="new"' in metrics
        assert 'sink="gone"' not in metrics
        wait_for("the stamp", lambda: all(each["retired_ms"] for each in books(agent) if each["sink"] == "gone"))
        assert connects(plant) == 1
        reload(agent, configured(plant, file_sink(out), file_sink(gone, "gone")))
        publish(plant, range(200, 300))
        wait_for("the third", lambda: arrived(gone) == once(range(100)) + once(range(200, 300)))
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_a_sink_under_another_name_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with broker(tmp_path) as plant, AgentProcess(tmp_path / "agent", configured(plant, file_sink(out))) as agent:
        agent.start()
        subscribed(agent)
        publish(plant, range(100))
        wait_for("the first", lambda: arrived(out) == once(range(100)))
        reload(agent, configured(plant, file_sink(out, "other", 'was = "out"')))
        publish(plant, range(100, 200))
        wait_for("the second", lambda: arrived(out) == once(range(200)))
        # The file has them a moment before the books do.
        wait_for("the books", lambda: agent.status()["sinks"]["other"]["ledger"]["delivered"] == 200)
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_another_selection_holds_from_one_message_on_and_what_came_before_goes_first(tmp_path: Path) -> None:
    """Messages of both lines come all the time; the other sink keeps the former lane from going."""
    out, all_of_it = tmp_path / "out", tmp_path / "all"

    def config(line: str) -> str:
        more = f'where = {{ line = "{line}" }}'
        return configured(
            plant, file_sink(out, more=more), file_sink(all_of_it, "all", 'where = { line = "line0" }')
        ).replace('topic = "plant/#"', 'topic = "plant/{line}/x"')

    with broker(tmp_path) as plant, AgentProcess(tmp_path / "agent", config("line0")) as agent:
        agent.start()
        subscribed(agent)
        publishing = Background(
            lambda: publish(plant, range(2000), topic=lambda n: f"plant/line{n % 2}/x", rate=1000.0)
        )
        for n in range(1, 5):
            wait_for("some", lambda n=n: sum(arrived(all_of_it).values()) > 150 * n)
            reload(agent, config(f"line{n % 2}"))
        publishing.result(60)
        wait_for("all", lambda: arrived(all_of_it) == once(range(0, 2000, 2)))
        wait_for("the queue to be empty", lambda: agent.status()["sinks"]["out"]["queued"] == 0)
        found = arrived(out)
        assert max(found.values()) == 1, "none twice, though the lanes overlap"
        # It has all of one line and none of the other; neither only where a change falls between the two.
        assert sum(not found[n] and not found[n + 1] for n in range(0, 2000, 2)) <= 2
        assert sum(bool(found[n] and found[n + 1]) for n in range(0, 2000, 2)) <= 2
        assert {n % 2 for n in found} == {0, 1}
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_what_cannot_be_stored_is_undone_and_everything_goes_on_as_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = file_sink(out, more='exclude = ["none"]')
    with broker(tmp_path) as plant, AgentProcess(tmp_path / "agent", configured(plant, file_sink(out))) as agent:
        agent.start()
        subscribed(agent)
        publish(plant, range(100))
        wait_for("the first", lambda: arrived(out) == once(range(100)))
        lanes = agent.state / "lanes"
        reload(agent, configured(plant, few))
        publish(plant, range(100, 200))
        wait_for("the second", lambda: arrived(out) == once(range(200)))
        (lane,) = [each.name for each in lanes.iterdir() if each.name.startswith("sel-")]
        reload(agent, configured(plant, file_sink(out)))
        wait_for("the lane to go", lambda: not (lanes / lane).exists())
        (lanes / lane).write_text("in the way")
        said = reload(agent, configured(plant, few, file_sink(tmp_path / "new", "new")))
        assert said.startswith("the new configuration cannot run, back to the former one")
        assert lane in said
        publish(plant, range(200, 300))
        wait_for("the third", lambda: arrived(out) == once(range(300)))
        assert sorted(agent.status()["sinks"]) == ["out"]
        (lanes / lane).unlink()
        assert reload(agent, configured(plant, few, file_sink(tmp_path / "new", "new"))).startswith("reloaded")
        publish(plant, range(300, 400))
        wait_for("the last", lambda: arrived(out) == once(range(400)))
        assert connects(plant) == 1
        assert agent.stop() == 0
        assert_books_balance(agent)


def test_a_process_that_is_killed_during_reloads_loses_and_repeats_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    say(capsys, f"E2E_SEED={seed}")
    rng, messages = Random(seed), 2500

    def config(n: int) -> str:
        # At any time one lane: a kill between the commits of two costs copies, reload or not.
        selection = f'exclude = ["none-{n}"]'
        other = [obsrv_sink(far.url, "other", dataset="other", more=selection)] if n % 2 else []
        return configured(plant, obsrv_sink(far.url, more=selection), *other, options=f'coalesce = "{20 + n}ms"')

    with (
        broker(tmp_path) as plant,
        cloud(tmp_path, DATASET, "other") as far,
        AgentProcess(tmp_path / "agent", config(0)) as agent,
    ):
        agent.start()
        subscribed(agent)
        publisher = Publisher(plant.port)
        publishing = Background(lambda: publisher.publish(range(messages), state_payload, rate=1000.0))
        for n in range(1, 4):
            for m in range(2):
                agent.configure(config(2 * n + m))
                hup(agent)
                time.sleep(rng.uniform(0.0, 0.06))  # the moment is the dice's choice
            agent.kill()
            agent.start()
            wait_for("the collector", lambda: is_subscribed(agent))
        publishing.result(60)
        publisher.close()
        wait_for("all", lambda: far.report()["stored"].get(DATASET, 0) >= messages)
        wait_for("the queues to be empty", lambda: drained(agent))
        books = Books.of(far)
        assert books.missing(publisher.acknowledged) == []
        assert (books.twice(), books.conflicts) == (0, 0)
        assert agent.stop() == 0
        assert_books_balance(agent)
