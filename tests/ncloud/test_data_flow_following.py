"""A job or a workflow is started once, whatever becomes of the answer, and followed to its end through any trouble."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
from far_side import Act, answer, far_side, reset, run

from agent.errors import AuthExpired, Retryable, Throttled
from agent.ncloud.account import Account
from agent.ncloud.asking import Unreadable
from agent.ncloud.data_flow import (
    BadBody,
    Before,
    DataFlow,
    Refused,
    Unconfirmed,
    before,
    execution_id,
    followed,
    found,
    is_doubtful,
    open_data_flow,
    started,
    workflow_followed,
)
from agent.sandbox import faults
from agent.sandbox.ncloud import Key, Sandbox
from agent.schema import Secret
from agent.timing import Backoff

SOON = 0.01  # seconds
AT_ONCE = Backoff(first=0.0, cap=0.0)
DAY = 24 * 3600 * 1000


@dataclass
class World:
    """A Data Flow with a job and a workflow of two jobs, and a client of it."""

    sandbox: Sandbox
    flow: DataFlow

    @property
    def starts(self) -> int:
        """How often a start was asked for."""
        return sum(request.method == "POST" for request in self.sandbox.requests)

    def ids(self, job: str = "job1") -> list[str]:
        """What ran of a job."""
        return [execution.id for execution in self.sandbox.flow.executions(job)]

    async def start(self, kind: Any = "job", id: str = "job1", **given: Any) -> str:
        mark = await before(self.flow, kind, id)
        return await started(self.flow, mark, **{"appears": 0.3, "looks": SOON, **given})


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    given = {"executions_wait": 0.0, "executions_take": 0.03, "runs_appear_after": 0.02, **settings}
    async with Sandbox.open(keys=[Key("AK_TEST", "SK_TEST")], **given) as sandbox:
        for job in ("job1", "job2"):
            sandbox.flow.add_job(job)
        sandbox.flow.add_trigger("hand")
        sandbox.flow.add_workflow("flow1", trigger="hand", jobs=["job1", "job2"])
        async with client(sandbox.url) as flow:
            yield World(sandbox, flow)


@asynccontextmanager
async def client(url: str) -> AsyncIterator[DataFlow]:
    account = Account(access_key=Secret("AK_TEST"), secret_key=Secret("SK_TEST"), url=url)
    async with open_data_flow(account, "test", patience=0.05, backoff=AT_ONCE) as flow:
        yield flow


def on(fault: faults.Fault, path: str = "POST /api/v1/jobs/job1/executions", count: int | None = 1) -> faults.Fault:
    return fault.only(dataset=path, count=count)


def bare(value: Any, status: int = 200) -> Act:
    return answer(status, json.dumps(value))


def listed(*items: dict[str, Any]) -> Act:
    return bare({"list": list(items)})


LOST = [
    faults.reset("stored"),
    faults.half_answer(),
    faults.error(stored=True),
    faults.Fault(name="busy", stage="stored", status=503),
    faults.Fault(name="html", stage="stored", status=200, gateway=True),
]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)
def test_an_execution_whose_answer_was_lost_is_found_and_none_is_started_again(fault: faults.Fault) -> None:
    async def main() -> None:
        heard: list[str] = []
        async with world(executions_listed_after=0.05) as far:
            far.sandbox.flow.start(far.sandbox.flow.job("job1"), at=far.flow.now_ms() - 1000)
            (old,) = far.ids()
            far.sandbox.faults.add(on(fault))
            execution = await far.start(say=heard.append)
            assert far.ids() == [old, execution]
            assert far.starts == 1
            assert "whether job:job1 was started is not known, looks for its execution" in heard[0]

    run(main())


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("dates", ["offset", "local"])
def test_the_order_of_the_list_and_the_style_of_its_dates_make_no_difference(newest_first: bool, dates: str) -> None:
    async def main() -> None:
        async with world(newest_first=newest_first, dates=dates) as far:
            job, now = far.sandbox.flow.job("job1"), far.flow.now_ms()
            for days in range(450, 0, -1):
                far.sandbox.flow.start(job, at=now - days * DAY)
            mark = await before(far.flow, "job", "job1")
            assert 1 <= len(mark.executions) <= 2  # of two days: of the rest no start has to know
            assert sum(request.method == "GET" for request in far.sandbox.requests) == (1 if newest_first else 3)
            assert await found(far.flow, mark) is None
            far.sandbox.faults.add(on(faults.reset("stored")))
            execution = await started(far.flow, mark, looks=SOON)
            assert far.ids()[-1] == execution
            assert len(far.ids()) == 451

    run(main())


def test_an_execution_that_the_answer_names_is_not_looked_for() -> None:
    async def main() -> None:
        async with world() as far:
            mark = await before(far.flow, "job", "job1")
            assert mark.executions == ()
            asked = len(far.sandbox.requests)
            body = {"jobCondition": {"numWorker": 3}}
            assert await started(far.flow, mark, body) == far.ids()[0]
            assert len(far.sandbox.requests) == asked + 1
            assert far.sandbox.flow.executions("job1")[0].condition["numWorker"] == 3

    run(main())


@pytest.mark.parametrize("fault", [None, faults.reset("stored"), faults.Fault(name="busy", stage="stored", status=503)])
def test_a_workflow_whose_answer_names_no_execution_is_found_in_its_list(fault: faults.Fault | None) -> None:
    async def main() -> None:
        async with world(executions_take=60.0) as far:
            if fault is not None:
                far.sandbox.faults.add(on(fault, "POST /api/v1/workflows/flow1/executions"))
            execution = await far.start("workflow", "flow1")
            assert far.ids() == [execution]
            assert far.starts == 1
            with pytest.raises(BadBody, match="executeWorkflow takes none"):
                await far.start("workflow", "flow1", body={})

    run(main())


def test_what_never_shows_up_ends_in_an_error_that_says_what_is_known() -> None:
    async def main() -> None:
        async with world() as far:
            far.sandbox.faults.add(on(faults.unavailable()))
            with pytest.raises(Unconfirmed) as lost:
                await far.start(appears=0.05)
            assert far.ids() == []
            assert far.starts == 1
            assert is_doubtful(lost.value)
            for part in ("job:job1: a start was asked for and the answer lost", "503", "no new execution", "50ms"):
                assert part in lost.value.reason
            far.sandbox.settings.runs_appear_after = 60.0
            with pytest.raises(Unconfirmed, match="workflow:flow1: a start was accepted, and no new execution"):
                await far.start("workflow", "flow1", appears=0.0)

    run(main())


def test_trouble_while_it_is_looked_for_is_outlasted() -> None:
    trouble = [answer(503), answer(503), reset, answer(200, "<html>"), answer(502)]

    async def main() -> None:
        async with far_side(reset, *trouble, listed({"jobExecutionId": 7})) as side, client(side.url) as flow:
            assert await started(flow, Before("job:a", (), flow.now_ms()), appears=0.0, looks=0.0) == "7"
        async with far_side(reset, answer(503)) as side, client(side.url) as flow:
            with pytest.raises(Unconfirmed, match=r"the list of executions cannot be read .*503"):
                await started(flow, Before("job:a", (), flow.now_ms()), looks=0.0, patience=0.0)
        async with far_side(reset, answer(401)) as side, client(side.url) as flow:
            with pytest.raises(AuthExpired):
                await started(flow, Before("job:a", (), flow.now_ms()), looks=0.0)

    run(main())


def test_a_start_that_was_refused_or_never_arrived_is_not_looked_for() -> None:
    async def main() -> None:
        for act, error in (
            (bare({"errorType": "bad-state", "detail": "is DRAFT"}, 400), Refused),
            (bare({"errorType": "resource-not-found/JOB"}, 404), Refused),
            (answer(401), AuthExpired),
            (answer(429, headers={"Retry-After": "60"}), Throttled),
        ):
            async with far_side(act) as side, client(side.url) as flow:
                with pytest.raises(error):
                    await started(flow, Before("job:a", (), flow.now_ms()))
                assert len(side.requests) == 1
        async with client("http://127.0.0.1:1") as flow:
            with pytest.raises(Retryable, match="cannot connect"):
                await started(flow, Before("job:a", (), flow.now_ms()))

    run(main())


def test_what_was_known_before_outlives_the_program() -> None:
    async def main() -> None:
        async with world() as far:
            far.sandbox.flow.start(far.sandbox.flow.job("job1"))
            kept = json.dumps((await before(far.flow, "job", "job1")).to_dict())
            far.sandbox.flow.start(far.sandbox.flow.job("job1"))
            # Another process, later.
            mark = Before.from_dict(json.loads(kept))
            assert (mark.kind, mark.id) == ("job", "job1")
            item = await found(far.flow, mark)
            assert item is not None
            assert execution_id(item) == far.ids()[1]

    run(main())


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"target": "job1", "executions": [], "at_ms": 1},
        {"target": "job:", "executions": [], "at_ms": 1},
        {"target": "job:a", "executions": [1], "at_ms": 1},
        {"target": "job:a", "executions": "a", "at_ms": 1},
        {"target": "job:a", "executions": [], "at_ms": "1"},
    ],
)
def test_what_was_not_kept_whole_is_told(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected target, executions and at_ms"):
        Before.from_dict(value)


def test_of_several_new_executions_the_first_that_nobody_else_began_is_ours() -> None:
    by_trigger = {"jobExecutionId": "t", "createdDate": "2026-01-01T10:00:00+09:00", "triggerId": "every hour"}
    by_workflow = {"jobExecutionId": "w", "createdDate": "2026-01-01T10:00:01+09:00", "type": "WORKFLOW"}
    ours = {"jobExecutionId": "o", "createdDate": "2026-01-01T10:00:02", "triggerId": None, "type": "JOB"}
    later = {"jobExecutionId": "l", "createdDate": "2026-01-01T10:00:03", "type": "JOB"}
    before_that = {"jobExecutionId": "b", "createdDate": "2025-12-30T10:00:00"}
    known = {"jobExecutionId": "k", "createdDate": "2026-01-01T09:59:59"}
    at_ms = 1767229200000  # 10:00 of the same day in Korea

    async def main() -> None:
        pages = [
            listed(later, by_workflow, ours, by_trigger, known, before_that),
            listed(by_trigger, known),
            listed(known),
        ]
        async with far_side(*pages) as side, client(side.url) as flow:
            mark = Before("job:a", ("k",), at_ms)
            assert await found(flow, mark) == ours
            assert await found(flow, mark) == by_trigger  # nothing is started beside it
            assert await found(flow, mark) is None
        same = [{"jobExecutionId": each, "createdDate": ours["createdDate"]} for each in ("second", "first")]
        async with far_side(listed(*same, known), listed(known, *same)) as side, client(side.url) as flow:
            for first in ("first", "second"):  # dates count seconds, and the list runs from new to old, or not
                assert execution_id(await found(flow, mark) or {}) == first
        async with far_side(listed({"jobId": "a"})) as side, client(side.url) as flow:
            with pytest.raises(Unreadable, match="expected an execution with its jobExecutionId"):
                await found(flow, mark)

    run(main())


def test_a_clock_that_is_days_ahead_makes_no_old_execution_a_new_one() -> None:
    there = time.time() - 3 * 86_400
    old = {"jobExecutionId": "old", "createdDate": datetime.fromtimestamp(there - 3600, UTC).isoformat()}
    refused = answer(401, json.dumps({"error": {"errorCode": "200"}}), {"Date": formatdate(there, usegmt=True)})

    async def main() -> None:
        async with far_side(refused, listed(old)) as side, client(side.url) as flow:
            mark = await before(flow, "job", "a")
            assert mark.executions == ("old",)
            assert abs(mark.at_ms - there * 1000) < 60_000
            assert await found(flow, mark) is None

    run(main())


def test_what_a_trigger_began_meanwhile_is_not_taken_while_ours_may_still_show_up() -> None:
    theirs, ours = {"jobExecutionId": "theirs", "triggerId": "every hour"}, {"jobExecutionId": "ours"}

    async def main() -> None:
        for last, appears, taken in ((listed(theirs, ours), 60.0, "ours"), (listed(theirs), 0.02, "theirs")):
            async with far_side(reset, listed(theirs), listed(theirs), last) as side, client(side.url) as flow:
                mark = Before("job:a", (), flow.now_ms())
                assert await started(flow, mark, appears=appears, looks=SOON) == taken
                assert sum(request.line.startswith("POST") for request in side.requests) == 1

    run(main())


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED", "CANCELED"])
def test_an_execution_is_followed_to_its_end_through_a_503(end: str) -> None:
    async def main() -> None:
        heard: list[str] = []
        async with world(executions_wait=0.03, executions_end=end) as far:
            execution = await far.start()
            path = f"GET /api/v1/jobs/job1/executions/{execution}"
            far.sandbox.faults.add(on(faults.unavailable(), path, 30))
            item = await followed(far.flow, "job1", execution, every=SOON, say=heard.append)
            assert (item["status"], item["jobExecutionId"]) == (end, execution)
            assert far.starts == 1
            assert heard[-1] == f"execution {execution} of job job1: {end}"

    run(main())


def test_whatever_passes_by_itself_is_outlasted_and_each_spell_told_once() -> None:
    gone = bare({"errorType": "resource-not-found/EXECUTION"}, 404)
    ready, running, completed = (bare({"status": status}) for status in ("READY", "RUNNING", "COMPLETED"))
    script = [
        gone,
        gone,
        ready,
        reset,
        reset,
        answer(500),
        answer(500),
        answer(200, "<html>"),
        running,
        running,
        completed,
    ]

    async def main() -> None:
        heard: list[str] = []
        async with far_side(*script) as side, client(side.url) as flow:
            item = await followed(flow, "a", "e", every=0.0, say=heard.append)
            assert item["status"] == "COMPLETED"
        assert [line.rpartition(": ")[2] for line in heard] == [
            "goes on asking",
            "READY",
            "goes on asking",
            "RUNNING",
            "COMPLETED",
        ]

    run(main())


def test_what_does_not_pass_by_itself_is_raised() -> None:
    gone = bare({"errorType": "resource-not-found/EXECUTION"}, 404)

    async def main() -> None:
        for act, error, given in (
            (gone, Refused, {"grace": 0.0}),
            (answer(401), AuthExpired, {}),
            (answer(404), Retryable, {}),
            (answer(503), Retryable, {"patience": 0.0}),
        ):
            async with far_side(bare({"status": "RUNNING"}), act) as side, client(side.url) as flow:
                with pytest.raises(error):
                    await followed(flow, "a", "e", every=0.0, **given)

    run(main())


def test_a_workflow_has_ended_when_all_its_jobs_have() -> None:
    async def main() -> None:
        heard: list[str] = []
        async with world() as far:
            mark = await before(far.flow, "workflow", "flow1")
            await started(far.flow, mark, looks=SOON)
            far.sandbox.faults.add(on(faults.unavailable(), "GET /api/v1/workflows/flow1/executions", 20))
            item = await workflow_followed(far.flow, mark, every=SOON, say=heard.append)
            assert (item["jobId"], item["status"]) == ("job2", "COMPLETED")
            assert len(far.ids()) == len(far.ids("job2")) == 1
            assert any(line.endswith("of job job2: COMPLETED") for line in heard)

    run(main())


@pytest.mark.parametrize("end", ["FAILED", "CANCELED"])
def test_a_workflow_ends_as_the_job_that_did_not_complete(end: str) -> None:
    async def main() -> None:
        async with world() as far:
            far.sandbox.flow.outcome(job="job1", end=end)
            mark = await before(far.flow, "workflow", "flow1")
            await started(far.flow, mark, looks=SOON)
            item = await workflow_followed(far.flow, mark, every=SOON)
            assert (item["jobId"], item["status"]) == ("job1", end)
            assert far.ids("job2") == []

    run(main())


def test_a_workflow_whose_next_job_does_not_begin_is_no_success() -> None:
    nodes = {"nodes": [{"id": "t", "type": "TRIGGER"}, {"id": "a", "type": "JOB"}, {"id": "b", "type": "JOB"}]}
    one = listed({"jobExecutionId": "e", "jobId": "a", "status": "COMPLETED"})

    async def main() -> None:
        async with far_side(bare(nodes), one) as side, client(side.url) as flow:
            with pytest.raises(Unconfirmed, match="workflow:w: 1 of 2 jobs have run, and none has begun for 20ms"):
                await workflow_followed(flow, Before("workflow:w", (), flow.now_ms()), every=0.001, settle=0.02)

    run(main())
