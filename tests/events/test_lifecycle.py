"""What the agent says of itself: starts, stops and outages, out of real runs and over their ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import free_port

from agent import __version__, supervisor
from agent.config import Config, load
from agent.delivery import Notice
from agent.events.memory import NAME
from agent.lifecycle import standing as standings
from agent.lifecycle.standing import LASTING_MS, Standing
from agent.supervisor import Running

MINUTE = 60_000
KINDS = ("start", "stop", "outage")


# Pure: what is said when.


def notice(what: str, since: int, until: int | None = None, *, sink: str = "lake", records: int = 5) -> Notice:
    return Notice(sink=sink, what=what, reason="refused", since_ms=since, until_ms=until, records=records)  # type: ignore[arg-type]


def said(standing: Standing, now: int) -> list[tuple[str, int, dict[str, Any]]]:
    """What has become due: state, time and fields of each."""
    standing.sayings.clear()
    standing.ripen(now, "edge", KINDS)
    return [(str(each.fields["state"]), each.ts, dict(each.fields)) for each in standing.sayings]


def begun(standing: Standing, now: int, *, due: int, alive: int | None = None, jitter: int = 5 * MINUTE) -> Standing:
    """The next life, out of what the former one left."""
    standing = _reread(standing)
    standing.begin(now, due, now + jitter, alive=alive, version="2", config="abc")
    return standing


def _reread(standing: Standing) -> Standing:
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(standing), type=Standing)


def test_a_first_start_is_told_after_its_delay_and_knows_of_no_stop() -> None:
    life = begun(Standing(), 1000, due=5000)
    assert (life.due, said(life, 4999)) == (5000, [])
    ((state, ts, fields),) = said(life, 5000)
    assert (state, ts, fields["starts"], fields["clean"]) == ("started", 1000, 1, True)
    assert life.due is None


def test_a_stop_is_told_with_its_own_time_after_the_next_start() -> None:
    life = begun(Standing(), 1000, due=2000)
    said(life, 2000)
    life.stopped = 7000
    life = begun(life, 9000, due=9500)
    stopped, started = said(life, 9500)
    assert stopped[:2] == ("stopped", 7000)
    assert stopped[2]["what"] == "agent on edge stopped (version 2, configuration abc)"
    assert started[:2] == ("started", 9000)
    assert stopped[2]["clean"] is started[2]["clean"] is True


def test_an_end_without_a_stop_says_so_and_until_when_the_agent_lived() -> None:
    life = begun(Standing(), 1000, due=2000)
    said(life, 2000)
    life = begun(life, 90_000, due=90_000, alive=61_000)
    stopped, started = said(life, 90_000)
    assert stopped[:2] == ("stopped", 61_000)
    assert "ended without a stop: kill or power cut; last known alive 1970-01-01T00:01:01Z" in stopped[2]["what"]
    assert "ended without a stop" in started[2]["what"]
    assert stopped[2]["clean"] is started[2]["clean"] is False


def test_restarts_within_the_delay_are_one_event_with_their_number() -> None:
    life = begun(Standing(), 0 + 1, due=1)
    said(life, 1)
    life.stopped = 100
    life = begun(life, 200, due=100_000)
    for now in (400, 600):
        life.stopped = now - 100
        life = begun(life, now, due=now + 50_000)
    life = begun(life, 800, due=800_000, alive=700)  # killed
    assert life.due == 100_000, "what is still to come keeps its moment"
    stopped, started = said(life, 100_000)
    assert stopped[:2] == ("stopped", 100)
    assert started[:2] == ("started", 800)
    assert (started[2]["starts"], started[2]["since"]) == (4, 200)
    assert "4 starts since 1970-01-01T00:00:00Z, 1 of them after an end without a stop" in started[2]["what"]


def test_what_was_due_while_the_agent_was_down_waits_for_a_moment_of_its_own() -> None:
    life = begun(Standing(), 1, due=1000)
    life.notice(notice("down", 500), 1200)
    life = begun(life, 50_000, due=60_000)
    assert {life.restart.due, life.outages["lake"].due} == {60_000}  # type: ignore[union-attr]
    # And what lies too far ahead, as after a clock was set back, comes nearer.
    life = begun(life, 100, due=200, jitter=1000)
    assert life.due == 200


def test_a_clock_that_is_set_back_keeps_nothing_from_being_said() -> None:
    life = begun(Standing(), 86_400_000, due=86_500_000)
    life.hasten(1000, 1000 + 5 * MINUTE)
    assert life.due == 1000 + 5 * MINUTE
    life = Standing()
    life.notice(notice("down", 86_400_000), due=86_400_000)
    life.hasten(1000, 1000)
    assert life.due == 1000 + LASTING_MS


def test_an_outage_is_one_event_at_its_begin_and_one_at_its_end() -> None:
    life = Standing()
    life.notice(notice("down", 1000), due=33_000)
    life.notice(notice("refusing", 1000), due=39_000)
    assert life.due == 33_000
    ((state, ts, fields),) = said(life, 33_000)
    assert (state, ts, fields["since"], fields["reason"]) == ("outage", 1000, 1000, "refused")
    assert "sink lake of edge refuses everything since" in fields["what"]
    life.notice(notice("down", 1000), due=39_000)
    assert life.due is None, "it is the same outage"
    life.notice(notice("up", 1000, 60_000), due=70_000)
    ((state, ts, fields),) = said(life, 70_000)
    assert (state, ts, fields["since"], fields["until"]) == ("recovered", 60_000, 1000, 60_000)
    assert "up again after 59s" in fields["what"]
    assert (life.due, life.told) == (None, {})


def test_an_outage_that_has_ended_before_it_was_told_of_is_one_event() -> None:
    life = Standing()
    life.notice(notice("down", 1000), due=100_000)
    life.notice(notice("up", 1000, 41_000), due=999_999)
    for n in range(42, 45):
        life.notice(notice("down", 1000 * n), due=999_999)
        life.notice(notice("up", 1000 * n, 1000 * n + 500, records=77), due=999_999)
    ((state, _, fields),) = said(life, 100_000)
    assert (state, fields["since"], fields["until"], fields["episodes"], fields["records"]) == (
        "recovered",
        1000,
        44_500,
        4,
        77,
    )


def test_an_end_that_is_taken_back_before_it_was_told_of_is_not_told() -> None:
    life = Standing()
    life.notice(notice("down", 1000), due=1000)
    assert [each[0] for each in said(life, 31_000)] == ["outage"]
    life.notice(notice("up", 1000, 35_000), due=39_000)
    life.notice(notice("down", 36_000), due=39_500)
    assert said(life, 39_500) == []
    life.notice(notice("up", 36_000, 50_000), due=51_000)
    ((state, _, fields),) = said(life, 51_000)
    assert (state, fields["since"], fields["until"]) == ("recovered", 1000, 50_000)


@pytest.mark.parametrize("due", [1000, 2000, 300_000])
def test_what_is_over_soon_was_no_outage_and_nothing_is_told_of_it(due: int) -> None:
    life = Standing()
    for since in (1000, 12_000, 100_000):
        life.notice(notice("refusing", since), due=since + due)
        assert said(life, since + LASTING_MS - 1) == []
        life.notice(notice("up", since, since + LASTING_MS - 1), due=since + due)
        life = _reread(life)
    life.notice(notice("gap", 1000, 2000), due=2000)
    assert [each[0] for each in said(life, 10_000_000)] == ["gap"], "what is lost is told of, however short"
    life.notice(notice("down", 500_000), due=500_000)
    assert [each[0] for each in said(life, 500_000 + LASTING_MS)] == ["outage"]


def test_gaps_are_events_and_those_that_wait_are_told_together() -> None:
    life = Standing()
    life.notice(notice("gap", 1000, 2000, records=10), due=5000)
    life.notice(notice("gap", 2000, 4000, records=7), due=6000)
    ((state, ts, fields),) = said(life, 5000)
    assert (state, ts, fields["since"], fields["until"], fields["records"], fields["gaps"]) == (
        "gap",
        4000,
        1000,
        4000,
        17,
        2,
    )


notices = st.lists(
    st.tuples(
        st.sampled_from(["down", "refusing", "up", "gap"]),
        st.sampled_from(["lake", "notes"]),
        st.integers(0, 50),
        st.booleans(),
    ),
    max_size=40,
)


@given(notices)
def test_whatever_delivery_says_begin_and_end_of_outages_alternate_and_gaps_add_up(
    rows: list[tuple[str, str, int, bool]],
) -> None:
    life, now, gone = Standing(), 0, {"lake": 0, "notes": 0}
    told: dict[str, list[str]] = {"lake": [], "notes": []}
    lost = {"lake": 0, "notes": 0}

    def look() -> None:
        life.ripen(now, "edge", KINDS)
        for each in life.sayings:
            if each.fields["state"] == "gap":
                lost[each.sink] += int(each.fields["records"])
            else:
                told[each.sink].append(str(each.fields["state"]))
        life.sayings.clear()

    for what, sink, delay, is_restart in rows:
        now += LASTING_MS // 2
        life.notice(notice(what, now, now if what in ("up", "gap") else None, sink=sink, records=3), now + delay)
        gone[sink] += 3 * (what == "gap")
        look()
        if is_restart:
            life = _reread(life)
    now += LASTING_MS
    look()
    assert lost == gone
    for sink, states in told.items():
        # A short outage is one "recovered" by itself; a begin is followed by its end, before another begin.
        assert not any(one == other == "outage" for one, other in pairwise(states))
        is_down = next((what for what, each, *_ in reversed(rows) if each == sink and what != "gap"), "up") != "up"
        assert is_down is (sink in life.told)


@given(st.integers(0, 2**32), st.sampled_from([MINUTE * 5, MINUTE * 10]))
def test_a_thousand_agents_that_restart_together_stay_below_a_thousand_requests_a_minute(
    seed: int, jitter: int
) -> None:
    """Each sends two: a stop and a start. They are counted in every window of a minute."""
    rng = Random(seed)
    moments = []
    for _ in range(1000):
        life = Standing(started=1, stopped=2)
        life.begin(0, round(rng.uniform(0, jitter)), jitter, alive=None, version="1", config="c")
        while (due := life.due) is not None:
            moments += [due] * len(said(life, due))
    assert len(moments) == 2000
    moments.sort()
    assert max(sum(1 for each in moments if at <= each < at + MINUTE) for at in moments[::50]) <= 1000


# Real runs.


CONFIG = """
[agent]
hostname = "edge"
stop_grace = "3s"
lifecycle_events = {kinds}
lifecycle_jitter = "{jitter}"
[spool]
directory = "{folder}/state"
[status]
enabled = false
[collectors.me]
type = "self"
interval = "1s"
[sinks.notes]
type = "file"
path = "{folder}/notes.ndjson"
select = "event.*"
{more}
"""


def configured(
    folder: Path, more: str = "", *, jitter: str = "0", kinds: str = '["start", "stop", "outage"]'
) -> Config:
    (folder / "agent.toml").write_text(CONFIG.format(folder=folder, jitter=jitter, kinds=kinds, more=more))
    return load([folder / "agent.toml"], {})


@asynccontextmanager
async def life(config: Config, kind: supervisor.Life = "start") -> AsyncIterator[Running]:
    """One life of the agent, stopped in order at the end of the block."""
    stop, running = asyncio.Event(), asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def beside(each: Running) -> AsyncIterator[None]:
        running.set_result(each)
        yield

    task = asyncio.create_task(supervisor.run(config, stop, beside, life=kind))
    await asyncio.wait([task, running], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield running.result()
    finally:
        stop.set()
        await task


def written(folder: Path, name: str = "notes") -> list[dict[str, Any]]:
    """The events at the far side, a file here."""
    path = folder / f"{name}.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def states(folder: Path, name: str = "notes") -> list[str]:
    return [record["fields"]["state"] for record in written(folder, name)]


async def until(what: str, condition: Callable[[], object], seconds: float = 20.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s in vain for {what}") from None


def test_a_start_and_the_stop_before_it_are_told_after_the_start(tmp_path: Path) -> None:
    config = configured(tmp_path)

    async def main() -> None:
        began = time.time() * 1000
        async with life(config) as running:
            await until("the start to be told", lambda: states(tmp_path) == ["started"])
            books = {
                sample.name: sample.value
                for sample in running.stats.samples()
                if sample.labels.get("collector") == "events"
            }
            assert books["agent_intake_received_total"] == books["agent_intake_committed_total"] == 1
        assert states(tmp_path) == ["started"], "nothing is told at a stop"
        ended = time.time() * 1000
        async with life(config):
            await until("the second start", lambda: len(written(tmp_path)) == 3)
        started, stopped, again = written(tmp_path)
        assert started["source"] == "event.agent"
        assert started["tags"] == {"host": "edge"}
        assert began <= started["ts"] < stopped["ts"] <= ended <= again["ts"]
        assert (stopped["fields"]["state"], stopped["fields"]["clean"]) == ("stopped", True)
        assert (again["fields"]["version"], again["fields"]["config"]) == (__version__, config.config_hash[:12])

    asyncio.run(main())


def test_a_start_that_could_not_be_told_yet_is_told_by_the_next_life_with_their_number(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(3):
            async with life(configured(tmp_path, jitter="1h")):
                pass
        assert states(tmp_path) == []
        async with life(configured(tmp_path, jitter="0")):
            await until("both to be told", lambda: len(written(tmp_path)) == 2)
        stopped, started = written(tmp_path)
        assert (stopped["fields"]["state"], started["fields"]["starts"]) == ("stopped", 4)

    asyncio.run(main())


def test_a_reload_is_neither_a_stop_nor_a_start(tmp_path: Path) -> None:
    config = configured(tmp_path)

    async def main() -> None:
        async with life(config):
            await until("the start", lambda: states(tmp_path) == ["started"])
        for _ in range(2):
            async with life(config, "reload"):
                pass
        async with life(config, "look"):
            pass
        async with life(config):
            await until("the second start", lambda: len(written(tmp_path)) == 3)
        assert states(tmp_path) == ["started", "stopped", "started"]
        assert written(tmp_path)[-1]["fields"]["starts"] == 1

    asyncio.run(main())


def test_only_what_was_asked_for_is_told_and_by_default_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with life(configured(tmp_path, kinds="[]")):
            pass
        assert not (tmp_path / "state" / NAME).exists()
        for kinds in ('["start"]', '["stop"]', '["stop"]'):
            count = len(written(tmp_path))
            async with life(configured(tmp_path, kinds=kinds)) as running:
                await until("something to be told", lambda count=count: len(written(tmp_path)) > count)
                assert running.config.agent.lifecycle_jitter == 0
        assert states(tmp_path) == ["started", "stopped", "stopped"]
        async with life(configured(tmp_path, kinds="[]")):
            pass
        assert not (tmp_path / "state" / NAME).exists(), "nothing stale is left for when it is on again"

    asyncio.run(main())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages are told at once: half a minute is too long for a test."""
    monkeypatch.setattr(standings, "LASTING_MS", 0)


DEAD_SINK = """
[sinks.lake]
type = "obsrv"
url = "http://127.0.0.1:{port}"
dataset = "d"
{select}
connect_timeout = "1s"
"""


@pytest.mark.usefixtures("impatient")
def test_an_outage_is_told_to_others_and_its_end_too_but_never_to_the_sink_itself(tmp_path: Path) -> None:
    from agent.sandbox.obsrv import Dataset, Sandbox

    port = free_port()
    watcher = f'[sinks.all]\ntype = "file"\npath = "{tmp_path}/all.ndjson"\nselect = ["event.agent", "self.*"]\n'
    config = configured(tmp_path, DEAD_SINK.format(port=port, select="") + watcher, kinds='["outage"]')

    async def main() -> None:
        async with life(config) as running:
            await until("the outage to be told", lambda: states(tmp_path) == ["outage"])
            async with Sandbox.open([Dataset(id="d")], port=port) as sandbox:
                await until("its end to be told", lambda: states(tmp_path) == ["outage", "recovered"], 60)
                await until("the sink to be up to date", lambda: running.deliveries["lake"].queued() == 0, 60)
                stored = [row.event["source"] for row in sandbox.stored("d")]
        outage, over = written(tmp_path)
        assert outage["tags"] == over["tags"] == {"host": "edge", "sink": "lake"}
        assert over["fields"]["since"] == outage["fields"]["since"] == outage["ts"] < over["ts"]
        assert stored
        assert "event.agent" not in stored
        assert [e["fields"]["state"] for e in written(tmp_path, "all") if e["source"] == "event.agent"] == [
            "outage",
            "recovered",
        ]

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_sinks_that_share_the_records_of_the_one_that_is_down_are_not_told_either(tmp_path: Path) -> None:
    shares = f'[sinks.sharing]\ntype = "file"\npath = "{tmp_path}/sharing.ndjson"\n'
    dead = DEAD_SINK.format(port=free_port(), select="")
    config = configured(tmp_path, dead + shares, kinds='["start", "outage"]')

    async def main() -> None:
        async with life(config):
            await until("the outage", lambda: "outage" in states(tmp_path))
            await until("the others' records", lambda: len(written(tmp_path, "sharing")) > 3)
        told = [
            record["fields"]["state"] for record in written(tmp_path, "sharing") if record["source"] == "event.agent"
        ]
        assert told == ["started"]

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_an_outage_that_goes_on_over_a_restart_is_told_of_once_and_its_end_too(tmp_path: Path) -> None:
    from agent.sandbox.obsrv import Dataset, Sandbox

    port = free_port()
    dead = DEAD_SINK.format(port=port, select='exclude = "event.*"')
    config = configured(tmp_path, dead, kinds='["outage"]')

    async def main() -> None:
        async with life(config):
            await until("the outage to be told", lambda: states(tmp_path) == ["outage"])
        async with Sandbox.open([Dataset(id="d")], port=port), life(config):
            await until("its end to be told", lambda: states(tmp_path) == ["outage", "recovered"])

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_a_swap_is_no_start_and_an_outage_that_it_ends_is_told_of_as_over(tmp_path: Path) -> None:
    dead = DEAD_SINK.format(port=free_port(), select='exclude = "event.*"')
    lake = f'[sinks.lake]\ntype = "file"\npath = "{tmp_path}/lake.ndjson"\nexclude = "event.*"\n'

    async def main() -> None:
        async with life(configured(tmp_path, dead)) as running:
            await until("the outage to be told", lambda: states(tmp_path) == ["started", "outage"])
            config = configured(tmp_path, lake)
            await supervisor.swap(running, config)
            await until("its end to be told", lambda: states(tmp_path) == ["started", "outage", "recovered"])
            await supervisor.swap(running, configured(tmp_path))  # a sink that is gone has nothing to be told of
        async with life(config):
            await until("the next start", lambda: states(tmp_path)[3:] == ["stopped", "started"])
        assert written(tmp_path)[3]["fields"]["config"] == configured(tmp_path).config_hash[:12]

    asyncio.run(main())


@pytest.mark.parametrize("content", [b"", b'{"format":1,"sections":{"agent":{"started":"yes"}}}'])
def test_a_damaged_memory_is_a_first_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / NAME).write_bytes(content)

    async def main() -> None:
        async with life(configured(tmp_path)):
            await until("the start", lambda: states(tmp_path) == ["started"])

    asyncio.run(main())
