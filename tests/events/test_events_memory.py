"""What a restart knows of rules: nothing fires twice, no end is lost, and a damaged file is survived."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from watching import EVENTS, MINUTE, Site, rule, site

from agent.events import memory
from agent.events.memory import NAME, Memory
from agent.events.rule import Rule
from agent.record import Emission, Stream

NOW = time.time_ns() // 1_000_000  # how long ago something was seen is counted from today

Test = Callable[[Site], Coroutine[Any, Any, None]]


def lives(folder: Path, *each: tuple[Test, tuple[Rule, ...]], **options: Any) -> None:
    """One run of the agent's middle after another, over the same state directory."""

    async def main() -> None:
        for test, rules in each:
            async with site(folder, *rules, **options) as running:
                await test(running)

    asyncio.run(main())


def test_a_restart_neither_fires_again_nor_loses_the_end(tmp_path: Path) -> None:
    async def first(running: Site) -> None:
        await running.series(95, device="a", start=NOW)
        await running.series(95, 1, device="b", start=NOW)

    async def second(running: Site) -> None:
        assert running.count("agent_events_firing", rule="hot") == 1
        await running.sample({"t": 96}, at=NOW + 2 * MINUTE, device="a")
        assert await running.states() == ["firing", "firing", "clear"]
        await running.sample({"t": 1}, at=NOW + 7 * MINUTE, device="a")
        await running.sample({"t": 95}, at=NOW + 7 * MINUTE, device="b")
        *_, over, again = await running.stored()
        assert (over["fields"]["state"], over["fields"]["since"], over["tags"]["device"]) == ("clear", NOW, "a")
        assert "is over after 7m" in over["fields"]["what"]
        assert (again["fields"]["state"], again["tags"]["device"]) == ("firing", "b")

    lives(tmp_path, (first, (rule(),)), (second, (rule(),)))


def test_what_fires_is_remembered_over_runs_in_which_its_tags_are_not_met(tmp_path: Path) -> None:
    async def first(running: Site) -> None:
        await running.series(95, b="2", a="1", start=NOW)

    async def nothing(running: Site) -> None:
        await running.series(95, device="other", start=NOW)

    async def last(running: Site) -> None:
        # The same tags in another order are the same tags.
        await running.sample({"t": 1}, at=NOW + MINUTE, a="1", b="2")
        assert (await running.states())[-1] == "clear"

    lives(tmp_path, (first, (rule(),)), (nothing, (rule(),)), (nothing, (rule(),)), (last, (rule(),)))


@pytest.mark.parametrize("changed", [rule("mqtt.plant.t > 89"), rule(where={"site": ("*",)}), rule(name="other")])
def test_a_rule_that_watches_something_else_starts_anew(tmp_path: Path, changed: Rule) -> None:
    async def fires(running: Site) -> None:
        await running.series(95, start=NOW)
        assert (await running.states())[-1] == "firing"

    async def silent(running: Site) -> None:
        await running.series(1, start=NOW)
        assert "clear" not in await running.states()

    lives(tmp_path, (fires, (rule(),)), (silent, (changed,)), (fires, (changed,)))


def test_what_else_changes_in_a_rule_keeps_its_state(tmp_path: Path) -> None:
    async def first(running: Site) -> None:
        await running.series(95, start=NOW)

    async def second(running: Site) -> None:
        await running.sample({"t": 86}, at=NOW + MINUTE)
        await running.sample({"t": 79}, at=NOW + 2 * MINUTE)
        assert [event["fields"]["value"] for event in await running.stored()] == [95, 79]

    lives(tmp_path, (first, (rule(),)), (second, (rule(clear="< 80", tags={"severity": "low"}, lasting=60.0),)))


def test_the_hour_and_the_least_time_of_a_state_go_on_over_a_restart(tmp_path: Path) -> None:
    rules = (rule(max_per_hour=2, name="few"), rule(min_hold=600.0, name="slow"))

    async def first(running: Site) -> None:
        await running.sample({"t": 95}, at=NOW)
        await running.sample({"t": 1}, at=NOW + 10 * MINUTE)
        await running.sample({"t": 95}, at=NOW + 11 * MINUTE)
        states = [(event["fields"]["rule"], event["fields"]["state"]) for event in await running.stored()]
        assert states == [("few", "firing"), ("slow", "firing"), ("few", "clear"), ("slow", "clear")]

    async def second(running: Site) -> None:
        for minute in (12, 19, 20, 61):
            await running.sample({"t": 95}, at=NOW + minute * MINUTE)
        later = [(event["fields"]["rule"], (event["ts"] - NOW) // MINUTE) for event in (await running.stored())[4:]]
        assert later == [("slow", 20), ("few", 61)]
        # The third change of "few", in the former life, was silent then and is what is told now.
        assert (await running.stored())[-1]["fields"]["suppressed"] == 0

    lives(tmp_path, (first, rules), (second, rules))


def test_a_clock_that_was_set_back_between_two_runs_holds_nothing_up(tmp_path: Path) -> None:
    """It ran an hour ahead until the restart; what was remembered then lies in the future now."""

    async def ahead(running: Site) -> None:
        await running.sample({"t": 95}, at=NOW + 60 * MINUTE)

    async def right(running: Site) -> None:
        await running.sample({"t": 95}, at=NOW + 1 * MINUTE)
        await running.sample({"t": 1}, at=NOW + 12 * MINUTE)
        assert await running.states() == ["firing", "clear"]
        *_, over = await running.stored()
        assert over["fields"]["since"] <= NOW + 1 * MINUTE

    rules = (rule(min_hold=600.0),)
    lives(tmp_path, (ahead, rules), (right, rules))


def test_what_has_changed_just_after_a_write_does_not_wait_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is written, a crash would make the next life believe what was told before."""
    monkeypatch.setattr(memory, "APART", 600.0)

    async def main() -> None:
        async with site(tmp_path, rule()) as running, asyncio.timeout(30):
            for value, is_firing in ((95, True), (1, False), (95, True)):
                await running.sample({"t": value}, at=NOW)
                while ('"changed"' in (tmp_path / NAME).read_text()) is not is_firing:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_an_event_that_never_became_durable_is_caused_again(tmp_path: Path) -> None:
    async def first(running: Site) -> None:
        stream = Stream("mqtt.plant")
        # Taken, and the process ends before anything is written.
        taken = running.intake.take(Emission("plant", [stream], [b'{"t":95}'], NOW))
        assert len(taken.events) == 1

    async def second(running: Site) -> None:
        await running.series(95, start=NOW)
        assert await running.states() == ["firing"]

    lives(tmp_path, (first, (rule(),)), (second, (rule(),)))


def test_what_was_written_is_private_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    async def test(running: Site) -> None:
        await running.series(95, start=NOW)
        async with asyncio.timeout(10):
            while '"began"' not in (tmp_path / NAME).read_text():
                await asyncio.sleep(0.01)

    (tmp_path / NAME).write_text('{"format":1,"sections":{}}')
    lives(tmp_path, (test, (rule(),)))
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("events*.new"))
    (state,) = json.loads((tmp_path / NAME).read_text())["sections"]["rules"]["hot"]["states"]
    assert state == {
        "source": "mqtt.plant",
        "tags": {"host": "edge-1", "site": "seoul"},
        "began": NOW,
        "changed": NOW,
        "seen": NOW,
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b'{"format":1,"sections":{"rules":',
        b'{"format":1,"sections":{"rules":{"hot":{"watches":7}}}}',
        b'{"format":2,"sections":{}}',
        b"[]",
        b'{"format":1,"sections":{"rules":{"hot":{"watches":"\xff"}}}}',
    ],
)
def test_a_damaged_file_is_no_state_and_said_once(tmp_path: Path, content: bytes) -> None:
    async def test(running: Site) -> None:
        await running.series(95, 1, start=NOW)
        assert len(await running.states()) % 2 == 0

    (tmp_path / NAME).write_bytes(content)
    with capture_logs() as lines:
        lives(tmp_path, (test, (rule(),)))
    assert [line["log_level"] for line in lines if "remembered of events" in line["event"]] == ["warning"]
    with capture_logs() as lines:
        lives(tmp_path, (test, (rule(),)))
    assert not [line for line in lines if "remembered of events" in line["event"]]


def test_a_first_start_is_no_reason_to_warn(tmp_path: Path) -> None:
    async def nothing(running: Site) -> None:
        pass

    with capture_logs() as lines:
        lives(tmp_path, (nothing, (rule(),)), (nothing, (rule(),)))
    assert [line["log_level"] for line in lines if "remembered of events" in line["event"]] == ["info"]


def test_a_disk_that_takes_nothing_is_said_once_and_written_to_again_when_it_does(tmp_path: Path) -> None:
    async def main() -> None:
        folder = tmp_path / "state"
        folder.mkdir()
        memory = await Memory.load(folder)
        memory.section("rules", dict, lambda: {"a": 1})
        with capture_logs() as lines:
            folder.rename(tmp_path / "away")
            assert [await memory.save() for _ in range(3)] == [False] * 3
            (tmp_path / "away").rename(folder)
            assert await memory.save()
        assert [line["event"] for line in lines] == [
            "events cannot be remembered, a restart may repeat some",
            "events are remembered again",
        ]
        assert json.loads((folder / NAME).read_text())["sections"] == {"rules": {"a": 1}}

    asyncio.run(main())


def test_only_so_many_states_are_kept_and_those_not_seen_for_a_month_are_not(tmp_path: Path) -> None:
    async def first(running: Site) -> None:
        for n in range(20):
            await running.sample({"t": 95}, device=f"d{n}")
        await running.sample({"t": 95}, at=NOW - 31 * 86_400_000, device="old")

    async def second(running: Site) -> None:
        assert running.count("agent_events_firing", rule="hot") == 5

    lives(tmp_path, (first, (rule(),)))
    lives(tmp_path, (second, (rule(),)), most=5)
    states = json.loads((tmp_path / NAME).read_text())["sections"]["rules"]["hot"]["states"]
    assert len(states) == 5
    assert "old" not in [state["tags"]["device"] for state in states]


def test_events_are_what_the_file_says_after_a_commit_and_not_before(tmp_path: Path) -> None:
    """The order that makes a crash cost at most one event more, never one less."""

    async def test(running: Site) -> None:
        stream = Stream("mqtt.plant")
        future = running.intake.emitter("plant")(Emission("plant", [stream], [b'{"t":95}'], NOW))
        assert running.watch.remembered()["hot"].states == []
        await future
        assert len(running.watch.remembered()["hot"].states) == 1

    lives(tmp_path, (test, (rule(),)))
    assert os.path.getsize(tmp_path / NAME) < 1000
    assert EVENTS.lane.startswith("sel-")
