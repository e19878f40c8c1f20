"""Rules beside a real far side: a job for each batch of objects, once, whatever happens in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from far_side import run
from leading import JOB, RULE, START, Site, rule, site, until
from structlog.testing import capture_logs

from agent.errors import Retryable
from agent.sandbox.faults import Fault, hang, reset, unavailable
from agent.sandbox.ncloud.troubles import gateway

WEEK = 7 * 86_400


def said(logs: list[Any], level: str) -> list[str]:
    return [line["event"] for line in logs if line["log_level"] == level]


def test_a_job_runs_after_so_many_objects_and_then_after_so_many_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            await leader.store(1, 2)
            assert (here.runs, leader.shown()["waiting"]) == (0, 2)
            await leader.store(3)
            await leader.ended("COMPLETED")
            await leader.store(4, 5, 6)
            await leader.ended("COMPLETED", "COMPLETED")
            assert here.runs == 2
            shown = leader.shown()
            assert (shown["waiting"], shown["runs_today"], shown["state"]) == (0, 2, "waiting")
            assert (shown["last"]["outcome"], shown["last"]["objects"]) == ("COMPLETED", 3)
            numbers = {each.name: each.value for each in leader.stats.samples()}
            assert numbers["agent_dataflow_runs_today"] == 2

    run(main())


def test_what_waits_beyond_a_batch_is_run_together(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            async with here.leader(works=False) as absent:
                await absent.store(*range(7))
            async with here.leader() as leader:
                await leader.ended("COMPLETED")
                assert (here.runs, leader.shown()["last"]["objects"], leader.shown()["waiting"]) == (1, 7, 0)

    run(main())


def test_there_is_one_run_at_a_time_and_what_comes_meanwhile_is_the_next(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, executions_take=3600.0) as here, here.leader() as leader:
            await leader.store(1, 2, 3)
            await until(lambda: leader.shown()["state"] == "running", "the run")
            await leader.store(*range(4, 12))
            assert here.runs == 1
            here.far.settings.executions_take = 0.0
            here.far.flow.cut(leader.shown()["execution"], "COMPLETED")
            await leader.ended("COMPLETED", "COMPLETED")
            assert (here.runs, leader.shown()["last"]["objects"]) == (2, 8)

    run(main())


def test_an_object_that_is_sent_again_counts_once_also_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            async with here.leader() as leader:
                await leader.store(1, 2, 2, 1)
            async with here.leader() as leader:
                await leader.store(2, 1)
                assert leader.shown()["waiting"] == 2
            assert here.runs == 0

    run(main())


@pytest.mark.parametrize(
    "fault",
    [reset(stage="stored"), gateway("510", stored=True), gateway("900", stored=True)],
    ids=["reset", "the gateway's time is up", "the gateway failed"],
)
def test_a_start_whose_answer_is_lost_is_found_and_not_repeated(tmp_path: Path, fault: Fault) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            here.far.faults.add(fault.only(dataset=START, count=1))
            await leader.store(1, 2, 3)
            await leader.ended("COMPLETED")
            assert (here.runs, here.far.faults.hits) == (1, 1)

    run(main())


@pytest.mark.parametrize(
    ("fault", "started"),
    [(hang(stage="stored"), 1), (hang(stage="send"), 0)],
    ids=["it was started", "it was not"],
)
def test_whoever_is_killed_over_a_start_looks_for_it_before_it_starts_it(
    tmp_path: Path, fault: Fault, started: int
) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            here.far.faults.add(fault.only(dataset=START))
            async with here.leader() as leader:
                await leader.store(1, 2, 3)
                await until(lambda: here.far.faults.hits, "the start")
            assert here.runs == started
            here.far.faults.clear()
            async with here.leader() as leader:
                await leader.store(4)
                await leader.ended("COMPLETED")
                assert (here.runs, leader.shown()["last"]["objects"], leader.shown()["waiting"]) == (1, 3, 1)

    run(main())


def test_whoever_is_killed_over_a_run_follows_it_to_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, executions_take=3600.0) as here:
            async with here.leader() as leader:
                await leader.store(1, 2, 3)
                await until(lambda: leader.shown()["state"] == "running", "the run")
                execution = leader.shown()["execution"]
            intent = (await here.book()).rule(RULE).intent
            assert intent is not None
            assert intent.execution == execution
            here.far.flow.cut(execution, "COMPLETED")
            async with here.leader(rule(timeout=0.01)) as leader:  # it ended while there was no agent
                await leader.ended("COMPLETED")
                assert (here.runs, leader.shown()["last"]["execution"]) == (1, execution)

    run(main())


@pytest.mark.parametrize("end", ["FAILED", "CANCELED"])
def test_a_run_that_fails_is_an_error_with_its_id_and_is_not_repeated(tmp_path: Path, end: str) -> None:
    async def main() -> None:
        async with site(tmp_path, executions_end=end) as here:
            with capture_logs() as logs:
                async with here.leader() as leader:
                    await leader.store(1, 2, 3)
                    await leader.ended(end)
                    assert (leader.shown()["state"], leader.shown()["waiting"]) == ("waiting", 0)
                async with here.leader() as leader:
                    await leader.store(4)
                    assert here.runs == 1
            (line,) = [line for line in logs if line["log_level"] == "error"]
            assert (line["status"], line["execution"]) == (end, here.far.flow.executions(JOB)[0].id)

    run(main())


def test_a_run_without_an_end_is_given_up_and_the_next_one_begins(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, executions_take=3600.0) as here, here.leader(rule(timeout=0.1)) as leader:
            await leader.store(*range(6))
            await leader.ended("UNKNOWN")
            await leader.store(*range(6, 9))
            await leader.ended("UNKNOWN", "UNKNOWN")
            assert here.runs == 2

    run(main())


def test_trouble_at_data_flow_holds_no_object_up_and_is_said_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            here.far.keys.revoke("AK")
            with capture_logs() as logs:
                await leader.store(1, 2, 3, 4)
                await until(lambda: len(here.far.requests) > 5, "some tries")
                assert "401" in leader.shown()["reason"]
                assert said(logs, "error") == ["Data Flow rule cannot go on, it tries again"]

    run(main())


def test_a_start_that_was_refused_is_tried_until_it_is_taken_and_no_run_of_others_passes_for_it(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with site(tmp_path, newest_first=False) as here, here.leader() as leader:
            job = here.far.flow.jobs[JOB]
            job.held = "STOPPED"
            with capture_logs() as logs:
                await leader.store(1, 2, 3)
                await until(lambda: said(logs, "error"), "the refusal")
                here.far.flow.start(job)  # by a person, in the console
                tries = _starts(here)
                await until(lambda: _starts(here) > tries + 1, "the next refusal")
                here.far.faults.add(reset(stage="stored", dataset=START, count=1))
                job.held = None
                await leader.ended("COMPLETED")
            assert here.runs == 2
            assert leader.shown()["last"]["execution"] == here.far.flow.executions(JOB)[1].id

    run(main())


def _starts(here: Site) -> int:
    return sum(each.method == "POST" for each in here.far.requests)


def test_what_passes_by_itself_is_waited_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            here.far.faults.add(gateway("410", dataset=START, count=1).only(retry_after="0"))
            here.far.faults.add(unavailable(dataset=f"GET /api/v1/jobs/{JOB}/executions", count=1))
            await leader.store(1, 2, 3)
            await leader.ended("COMPLETED")
            assert (here.runs, here.far.faults.hits) == (1, 2)

    run(main())


def test_a_day_has_so_many_runs_and_the_rest_is_one_run_of_the_next_day(tmp_path: Path) -> None:
    async def main() -> None:
        limited = rule(after_objects=1, max_runs_per_day=2)
        async with site(tmp_path) as here:
            with capture_logs() as logs:
                async with here.leader(limited) as leader:
                    for n in (1, 2):
                        await leader.store(n)
                        await leader.ended(*["COMPLETED"] * n)
                    await leader.store(3, 4)
                    await until(lambda: said(logs, "warning"), "a word about the limit")
                async with here.leader(limited) as leader:  # a restart is no new day
                    await leader.store(5)
                    await until(lambda: leader.shown()["state"] == "at its daily limit", "the limit")
            assert len(said(logs, "warning")) == 1
            assert here.runs == 2
            book = await here.book()
            book.rule(RULE).day = "2001-02-03"  # those were of another day
            await book.save()
            async with here.leader(limited) as leader:
                await leader.ended("COMPLETED")
                assert (here.runs, leader.shown()["last"]["objects"], leader.shown()["runs_today"]) == (3, 3, 1)

    run(main())


def test_moments_that_were_missed_are_made_up_for_once(tmp_path: Path) -> None:
    async def main() -> None:
        weekly = rule(every=WEEK)
        async with site(tmp_path) as here:
            async with here.leader(weekly) as leader:
                await until((tmp_path / "dataflow.json").exists, "the beginning")
                assert (here.runs, leader.shown()["state"]) == (0, "waiting")
            book = await here.book()
            tick = book.rule(RULE).tick
            assert tick is not None
            book.rule(RULE).tick = tick - 5 * WEEK * 1000
            await book.save()
            async with here.leader(weekly) as leader:
                await leader.ended("COMPLETED")
            assert here.runs == 1
            assert (await here.book()).rule(RULE).tick == tick  # all of them are honoured

    run(main())


def test_a_workflow_is_run_to_the_end_of_its_last_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, runs_appear_after=0.05) as here:
            flow = here.far.flow
            flow.add_job("J2")
            flow.add_trigger("T1")
            flow.add_workflow("W1", trigger="T1", jobs=[JOB, "J2"])
            async with here.leader(rule(workflow="W1")) as leader:
                await leader.store(1, 2, 3)
                await leader.ended("COMPLETED")
            assert (here.runs, len(flow.executions("J2"))) == (1, 1)

    run(main())


def test_a_workflow_that_was_taken_is_waited_for_and_not_started_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path, runs_appear_after=0.3) as here:
            here.far.flow.add_trigger("T1")
            here.far.flow.add_workflow("W1", trigger="T1", jobs=[JOB])
            async with here.leader(rule(workflow="W1", settle=0.05)) as leader:
                await leader.store(1, 2, 3)
                await leader.ended("COMPLETED")
            starts = [each for each in here.far.requests if each.method == "POST"]
            assert (here.runs, len(starts)) == (1, 1)

    run(main())


def test_what_the_job_is_given_reaches_it(tmp_path: Path) -> None:
    async def main() -> None:
        given = rule(parameters={"prefix": "telemetry/"})
        async with site(tmp_path) as here, here.leader(given) as leader:
            await leader.store(1, 2, 3)
            await leader.ended("COMPLETED")
            assert here.far.flow.executions(JOB)[0].condition["parameters"] == {"prefix": "telemetry/"}

    run(main())


def test_two_rules_of_a_sink_count_for_themselves(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            here.far.flow.add_job("J2")
            async with here.leader(rule(), rule(name="other", job="J2", after_objects=2)) as leader:
                await leader.store(1, 2, 3)
                await leader.ended("COMPLETED")
                await until(lambda: leader.shown("other")["last"], "the other")
            assert (here.runs, len(here.far.flow.executions("J2"))) == (1, 1)

    run(main())


def test_a_bug_ends_one_rule_until_the_next_start_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_body(api: str, condition: object, parameters: dict[str, str]) -> None:
        if parameters:
            raise ZeroDivisionError

    async def main() -> None:
        async with site(tmp_path) as here:
            here.far.flow.add_job("J2")
            monkeypatch.setattr("agent.dataflow.turns.run_body", run_body)
            sick = rule(parameters={"prefix": "telemetry/"})
            with capture_logs() as logs:
                async with here.leader(sick, rule(name="well", job="J2")) as leader:
                    await leader.store(*range(6))
                    await until(lambda: leader.shown("well")["last"], "the other one")
                    await until(lambda: leader.shown()["state"] == "failed", "the bug")
                    await leader.store(7)
            assert said(logs, "error") == ["Data Flow rule failed, and rests until the next start"]
            assert here.runs == 0

    run(main())


def test_what_was_not_stored_does_not_count(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            (tmp_path / "objects.ndjson").mkdir()
            with pytest.raises(Retryable):
                await leader.store(1)
            assert leader.shown()["waiting"] == 0

    run(main())


def test_an_object_that_cannot_be_noted_is_not_delivered(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here, here.leader() as leader:
            (tmp_path / "dataflow.new").mkdir()
            with pytest.raises(Retryable, match=r"cannot be noted for \[\[dataflow\]\]: .*dataflow.json"):
                await leader.store(1)
            (tmp_path / "dataflow.new").rmdir()
            await leader.store(1, 2)
            assert leader.shown()["waiting"] == 2

    run(main())


def test_no_job_is_run_for_what_stood_in_a_damaged_book(tmp_path: Path) -> None:
    async def main() -> None:
        async with site(tmp_path) as here:
            async with here.leader() as leader:
                await leader.store(1, 2)
            book = tmp_path / "dataflow.json"
            book.write_bytes(book.read_bytes().replace(b'"waiting":2', b'"waiting":3'))
            with capture_logs() as logs:
                async with here.leader() as leader:
                    assert leader.shown()["waiting"] == 0
                    await leader.store(3)
                    assert here.runs == 0
            assert "nothing is run for the objects counted in it" in said(logs, "error")[0]
            assert len(list((tmp_path / "damaged").iterdir())) == 1

    run(main())
