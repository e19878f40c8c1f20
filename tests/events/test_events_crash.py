"""What a crash leaves: a file that is older than what the spool holds, and the events beyond it are taken up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from watching import EVENTS, EVERYTHING, MINUTE, TAGS, Site, rule, site

from agent.events.memory import NAME
from agent.events.rule import Rule
from agent.intake import lately
from agent.options import Selection
from agent.record import Emission, Stream
from agent.spool import Lane

NOW = time.time_ns() // 1_000_000
FOUND = "events told since the last write of what is remembered are taken up"


class Crashed:
    """A life that is killed: of the file there is what `write` wrote last."""

    def __init__(self, folder: Path, running: Site) -> None:
        self._file = folder / NAME
        self._running = running
        self.left = b""

    async def write(self) -> None:
        """The file is written now, and not again."""
        assert await self._running.memory.save()
        self.left = self._file.read_bytes()


@asynccontextmanager
async def crash(folder: Path, *rules: Rule, **options: Any) -> AsyncIterator[tuple[Site, Crashed]]:
    async with site(folder, *rules, **options) as running:
        crashed = Crashed(folder, running)
        await crashed.write()
        yield running, crashed
    (folder / NAME).write_bytes(crashed.left)


def taken_up(lines: list[Any]) -> list[int]:
    return [line["count"] for line in lines if line["event"] == FOUND]


async def told(running: Site, device: str, lane: str = EVENTS.lane) -> list[str]:
    return [e["fields"]["state"] for e in await running.stored(lane) if e["tags"].get("device") == device]


@pytest.mark.parametrize("selections", [(EVERYTHING, EVENTS), (EVENTS,), (Selection(select=("event.*", "mqtt.*")),)])
def test_the_end_of_a_state_is_told_that_began_after_the_last_write(
    tmp_path: Path, selections: tuple[Selection, ...]
) -> None:
    hot = rule(tags={"severity": "high"})

    async def main() -> None:
        async with crash(tmp_path, hot, selections=selections) as (running, crashed):
            await running.series(95, 1, start=NOW, device="a")
            await running.series(95, start=NOW, device="b")
            await crashed.write()
            await running.sample({"t": 97}, at=NOW + 2 * MINUTE, device="a")
        with capture_logs() as lines:
            async with site(tmp_path, hot, selections=selections) as running:
                assert running.count("agent_events_firing", rule="hot") == 2
                await running.sample({"t": 11}, at=NOW + 3 * MINUTE, device="a")
                lane = selections[-1].lane
                events = [e for e in await running.stored(lane) if e["source"] == "event.hot"]
                assert [e["fields"]["state"] for e in events if e["tags"]["device"] == "a"] == [
                    *("firing", "clear"),
                    *("firing", "clear"),
                ]
                assert events[-1]["fields"]["since"] == NOW + 2 * MINUTE
        assert taken_up(lines) == [1]

    asyncio.run(main())


def test_the_next_begin_is_told_of_a_state_that_ended_after_the_last_write(tmp_path: Path) -> None:
    hot = rule(tags={"severity": "high"})

    async def main() -> None:
        async with crash(tmp_path, hot) as (running, crashed):
            await running.series(95, start=NOW, device="a")
            await crashed.write()
            await running.sample({"t": 1}, at=NOW + MINUTE, device="a")
        async with site(tmp_path, hot) as running:
            assert running.count("agent_events_firing", rule="hot") == 0
            # What is found is remembered before anything comes in: a second crash finds it in the file.
            (left,) = json.loads((tmp_path / NAME).read_text())["sections"]["rules"].values()
            assert not any(state.get("is_firing", True) for state in left["states"])
        with capture_logs() as lines:
            async with site(tmp_path, hot) as running:
                await running.sample({"t": 98}, at=NOW + 2 * MINUTE, device="a")
                assert await told(running, "a") == ["firing", "clear", "firing"]
        assert taken_up(lines) == []

    asyncio.run(main())


def test_what_was_told_after_the_last_write_counts_against_the_hour_and_for_the_least_time(tmp_path: Path) -> None:
    rules = (rule(max_per_hour=2, name="few"), rule(min_hold=600.0, name="slow"))

    async def main() -> None:
        async with crash(tmp_path, *rules) as (running, _):
            await running.series(95, 1, start=NOW)
        async with site(tmp_path, *rules) as running:
            await running.series(95, start=NOW + 2 * MINUTE)
            await running.series(1, start=NOW + 9 * MINUTE)
            assert len(await running.states()) == 3
            await running.series(1, start=NOW + 10 * MINUTE)
            assert [(e["fields"]["rule"], e["fields"]["state"]) for e in (await running.stored())[3:]] == [
                ("slow", "clear")
            ]

    asyncio.run(main())


def test_a_tag_of_the_rule_that_hides_one_of_the_record_does_not_mix_their_states_up(tmp_path: Path) -> None:
    hot = rule(tags={"line": "all"})

    async def main() -> None:
        async with crash(tmp_path, hot) as (running, crashed):
            await running.series(95, start=NOW, line="1")
            await running.series(95, 1, start=NOW, line="2")
            await crashed.write()
            await running.sample({"t": 1}, at=NOW + 2 * MINUTE, line="1")
        async with site(tmp_path, hot) as running:
            await running.sample({"t": 96}, at=NOW + 3 * MINUTE, line="1")
            assert await running.states() == ["firing", "firing", "clear", "clear", "firing"]

    asyncio.run(main())


def test_an_event_on_its_way_to_the_disk_stands_beyond_what_is_noted_of_its_lane(tmp_path: Path) -> None:
    async def main() -> None:
        async with crash(tmp_path, rule()) as (running, crashed):
            emit = running.intake.emitter("plant")
            done = emit(Emission("plant", [Stream("mqtt.plant", {"device": "a"})], [b'{"t":95}'], NOW))
            noted = running.intake.heads()
            # It is on the disk, and nobody has been told so yet: the worst moment to write the file.
            lane = running.spool.lanes[EVENTS.lane]
            async with asyncio.timeout(10):
                while lane.head == noted[lane.name]:
                    await asyncio.sleep(0)
            assert running.intake.heads() == noted or running.watch.remembered()["hot"].states
            await done
            await asyncio.sleep(0)
            assert running.intake.heads()[lane.name] == noted[lane.name] + 1
            await crashed.write()
        with capture_logs() as lines:
            async with site(tmp_path, rule()) as running:
                assert running.count("agent_events_firing", rule="hot") == 1
        assert taken_up(lines) == [], "it was in the file"

    asyncio.run(main())


def test_of_a_long_lane_the_end_is_read_and_it_takes_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is written when an event is told: a million records may stand between the two."""
    monkeypatch.setattr(lately, "MOST", 64 * 1024)
    read: list[int] = []
    reading = Lane.read_now

    def counted(lane: Any, at: int, *rest: Any) -> Any:
        found = reading(lane, at, *rest)
        read.append(0 if found is None else found.count)
        return found

    async def main() -> None:
        async with crash(tmp_path, rule(), selections=[EVERYTHING]) as (running, _):
            emit, stream = running.intake.emitter("plant"), Stream("mqtt.calm")
            for _ in range(50):
                await emit(Emission("plant", [stream] * 1000, [b'{"t":95}'] * 1000, NOW))
            await running.series(95, start=NOW, device="a")
        monkeypatch.setattr(Lane, "read_now", counted)
        async with site(tmp_path, rule(), selections=[EVERYTHING]) as running:
            assert running.count("agent_events_firing", rule="hot") == 1
        assert 0 < sum(read) < 2000
        monkeypatch.setattr(lately, "WITHIN", 0.0)
        monkeypatch.setattr(lately, "RECORDS", 10)
        (tmp_path / NAME).write_text(json.dumps(_with_heads(tmp_path, {"all": 0})))
        with capture_logs() as lines:
            async with site(tmp_path, rule(), selections=[EVERYTHING]):
                pass
        (line,) = [line for line in lines if line["event"] == "events told lately are too many to read"]
        assert line["unread"] > 0

    asyncio.run(main())


@pytest.mark.parametrize("heads", [{"all": 7, "gone": 3}, {"all": 10**9}, {}, {"all": "x"}, {"all": -5}])
def test_heads_that_fit_no_lane_any_more_do_no_harm_and_are_noted_anew(tmp_path: Path, heads: dict[str, Any]) -> None:
    async def main() -> None:
        async with crash(tmp_path, rule()) as (running, crashed):
            await running.series(95, start=NOW)
            await crashed.write()
        (tmp_path / NAME).write_text(json.dumps(_with_heads(tmp_path, heads)))
        async with crash(tmp_path, rule()) as (running, _):
            noted = json.loads((tmp_path / NAME).read_text())["sections"]["heads"]
            assert noted == running.intake.heads() == {"all": 2, EVENTS.lane: 1}
            assert running.count("agent_events_firing", rule="hot") == 1

    asyncio.run(main())


def _with_heads(folder: Path, heads: Mapping[str, Any]) -> dict[str, Any]:
    file: dict[str, Any] = json.loads((folder / NAME).read_text())
    file["sections"]["heads"] = heads
    return file


def test_what_fires_under_former_tags_of_the_agent_starts_anew_and_is_not_counted_for_a_month(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, rule()) as running:
            await running.series(95, start=NOW, device="a")
            await running.series(95, start=NOW, host="gateway", site="busan")  # tags of its own in their place
        with capture_logs() as lines:
            async with site(tmp_path, rule(), tags={**TAGS, "host": "edge-2"}) as running:
                assert running.count("agent_events_firing", rule="hot") == 1
                await running.series(95, start=NOW + MINUTE, device="a")
                await running.series(96, start=NOW + MINUTE, host="gateway", site="busan")
                assert running.count("agent_events_firing", rule="hot") == 2
                assert [e["tags"]["host"] for e in await running.stored()] == ["edge-1", "gateway", "edge-2"]
        (line,) = [line for line in lines if "other tags" in line["event"]]
        assert line["count"] == 1
        # A tag that is new, and one that is gone.
        for tags, left in (({**TAGS, "host": "edge-2", "fleet": "x"}, 0), ({"host": "edge-2"}, 0)):
            async with site(tmp_path, rule(), tags=tags) as running:
                assert running.count("agent_events_firing", rule="hot") == left
                await running.series(95, start=NOW + MINUTE)

    asyncio.run(main())


def test_told_and_suppressed_are_all_changes_over_a_restart_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, rule(max_per_hour=1)) as running:
            await running.series(95, 1, start=NOW, device="a")  # the end is silent
            await running.series(95, start=NOW, device="b")  # the begin is
            assert running.count("agent_events_firing", rule="hot") == 1
        async with site(tmp_path, rule(max_per_hour=1)) as running:
            assert running.count("agent_events_firing", rule="hot") == 1
            await running.series(2, start=NOW + 2 * MINUTE, device="a")
            await running.series(1, start=NOW + 2 * MINUTE, device="b")
            assert running.count("agent_events_suppressed_total", rule="hot") == 2, "b, there and back"
            await running.sample({"t": 3}, at=NOW + 61 * MINUTE, device="a")
            events = [
                (e["tags"]["device"], e["fields"]["state"], e["fields"]["suppressed"]) for e in await running.stored()
            ]
            assert events == [("a", "firing", 0), ("a", "clear", 2)]

    asyncio.run(main())
