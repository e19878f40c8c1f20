"""Rules in doubt: clocks that are set, executions that others began, and a kill between an answer and the next step."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from far_side import run
from leading import JOB, RULE, START, Hasty, rule, site, until
from structlog.testing import capture_logs

from agent.dataflow.book import Book
from agent.dataflow.patience import Patience
from agent.errors import Throttled
from agent.sandbox.faults import Fault, hang, slow

WEEK, YEAR = 7 * 86_400, 365 * 86_400


@pytest.mark.parametrize(
    ("jump", "timeout", "end"),
    [(WEEK, 3600.0, "COMPLETED"), (-10 * YEAR, 0.3, "UNKNOWN")],
    ids=["a week ahead: it is followed", "ten years back: not for ever"],
)
def test_how_long_a_run_is_followed_does_not_depend_on_a_clock_that_is_set_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float, timeout: float, end: str
) -> None:
    async def main() -> None:
        there = time.time
        async with site(tmp_path, executions_take=3600.0) as here, here.leader(rule(timeout=timeout)) as leader:
            here.far.faults.add(slow(0.1, dataset=START))
            await leader.store(1, 2, 3)
            await until(lambda: here.far.faults.hits, "the start")
            monkeypatch.setattr("agent.dataflow.turns.time", SimpleNamespace(time=lambda: there() + jump))
            await until(lambda: here.runs, "the run")
            looks = len(here.far.requests)
            await until(lambda: len(here.far.requests) > looks + 5, "some looks")
            if end == "COMPLETED":
                here.far.flow.cut(leader.shown()["execution"], end)
            await leader.ended(end)
            assert here.runs == 1

    run(main())


def test_a_run_of_a_trigger_is_not_taken_for_the_one_that_a_kill_kept_from_starting(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            here.far.faults.add(hang(stage="send").only(dataset=START))
            async with here.leader() as leader:
                await leader.store(1, 2, 3)
                await until(lambda: here.far.faults.hits, "the start")
            here.far.faults.clear()
            theirs = here.far.flow.start(here.far.flow.jobs[JOB], trigger="T1")
            async with here.leader() as leader:  # it may be that a start of ours looks like that, too: so not at once
                looks = len(here.far.requests)
                await until(lambda: len(here.far.requests) > looks + 3, "some looks")
                assert leader.shown()["state"] == "starting"
                ours = here.far.flow.start(here.far.flow.jobs[JOB])  # what was asked for arrives late
                await leader.ended("COMPLETED")
                assert (leader.shown()["last"]["execution"], here.runs) == (ours.id, 2)
            assert theirs.id != ours.id

    run(main())


def test_that_a_start_was_accepted_is_on_disk_before_anything_is_waited_for(tmp_path: Path) -> None:
    kept: list[bool] = []

    def look(logger: object, method: str, event: Any) -> Any:
        if event["event"] == "Data Flow rule cannot go on, it tries again":
            state = (tmp_path / "dataflow.json").read_bytes()
            kept.append(b'"is_accepted":true' in state)
        return event

    async def main() -> None:
        async with site(tmp_path, runs_appear_after=3600.0) as here:
            here.far.flow.add_trigger("T1")
            here.far.flow.add_workflow("W1", trigger="T1", jobs=[JOB])
            with capture_logs(processors=[look]):
                async with here.leader(rule(workflow="W1", settle=0.01)) as leader:
                    await leader.store(1, 2, 3)
                    await until(lambda: kept, "the first look in vain")

    run(main())
    assert kept == [True]


def test_a_start_that_is_refused_again_and_again_is_said_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            here.far.flow.jobs[JOB].held = "STOPPED"
            with capture_logs() as logs:
                await leader.store(1, 2, 3)
                await until(lambda: sum(each.method == "POST" for each in here.far.requests) > 3, "some refusals")
                assert leader.shown()["reason"]
            said = [line["event"] for line in logs]
            assert said.count("Data Flow rule cannot go on, it tries again") == 1
            assert "Data Flow rule goes on" not in said
            assert (await Book.open(tmp_path)).rule(RULE).intent is not None

    run(main())


def test_a_pause_that_data_flow_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> None:
        monkeypatch.setattr("agent.dataflow.patience.asyncio", SimpleNamespace(sleep=sleep))
        await Patience(RULE, Hasty()).failed(Throttled("the quota is used up", retry_after=300.0, status=429), 0)

    run(main())
    assert pauses == [300.0]


def test_an_answer_that_is_far_too_long_is_not_taken_into_memory(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            flood = '{"list":[' + '{"a":1},' * 500_000 + "{}]}"
            here.far.faults.add(Fault(name="flood", stage="send", status=200, gateway=True, body=flood, count=1))
            with capture_logs() as logs:
                await leader.store(1, 2, 3)
                await leader.ended("COMPLETED")
            assert logs[0]["reason"] == "the answer is longer than 2 MiB"
            assert here.runs == 1

    run(main())
