"""Data Flow's client over real sockets: every operation, its path and answers, and what is asked again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from data_flow_samples import CONDITION, NODES, START, STEP, TRIGGER
from far_side import Act, FarSide, answer, far_side, reset, run, said

from agent.errors import AuthExpired, DeliveryError, Retryable, Throttled
from agent.ncloud.account import Account
from agent.ncloud.asking import Unreadable
from agent.ncloud.data_flow import BadBody, DataFlow, Refused, is_doubtful, open_data_flow
from agent.ncloud.data_flow.refusals import may_pass
from agent.sandbox.ncloud import Key, Sandbox
from agent.schema import Secret
from agent.timing import Backoff

AT_ONCE = Backoff(first=0.0, cap=0.0)
FROM, TO = datetime(2025, 3, 18, 15, tzinfo=UTC), datetime(2025, 3, 20, 14, 59, 59, tzinfo=UTC)
STATS = "startDate=2025-03-19T00:00:00&endDate=2025-03-20T23:59:59"
ID = "a b/ü"  # no id that there is; what it becomes shows that a segment is one
PATH = "a%20b%2F%C3%BC"
NONE_LISTED = {"list": [], "count": 0, "page": 0, "limit": 1000}
PAGED = "page=0&limit=1000"

JOB_2024 = {"name": "job001", "nodes": NODES}
JOB_2026 = {"name": "job001", "type": "VISUAL", "nodes": NODES}
UPDATE_2024 = {"name": "job001", "type": "DATAFLOW", "nodes": NODES, "isTemp": False}
FLOW = {"name": "flow1", "nodes": [START, STEP]}
RUN = {"jobCondition": CONDITION}
ACCEPTED = {"workflowId": "w", "triggerId": "t", "status": "ACCEPTED"}
STARTED = {"jobExecutionId": "e", "status": "READY"}

Ask = Callable[[DataFlow], Awaitable[Any]]


def account(url: str, **given: Any) -> Account:
    return Account(**{"access_key": Secret("AK_TEST"), "secret_key": Secret("SK_TEST"), "url": url, **given})


@asynccontextmanager
async def flow_at(url: str, **given: Any) -> AsyncIterator[DataFlow]:
    heard: list[str] = []
    async with open_data_flow(account(url, **given), "test", say=heard.append, backoff=AT_ONCE) as flow:
        yield flow


def bare(value: Any, status: int = 200) -> Act:
    """Answer any JSON, or nothing at all."""
    return answer(status, b"" if value is None else json.dumps(value), {"Content-Type": "application/json"})


def problem(status: int, kind: str, detail: str = "{jobId=a}: Unable to find.") -> Act:
    """An error as the overview of 2023 shows it."""
    members = {"type": "about:blank", "title": "Wrong", "status": status, "detail": detail, "errorType": kind}
    return bare({**members, "instance": "/dataflow/api/jobs/a"}, status)


async def asked(ask: Ask, *script: Act, **given: Any) -> tuple[Any, FarSide]:
    async with far_side(*script) as side, flow_at(side.url, **given) as flow:
        return await ask(flow), side


# (generation of documents, call, method, path and query, body, answer, result)
OPERATIONS: list[tuple[str, Ask, str, str, Any, Act, Any]] = [
    ("2026", lambda f: f.results(FROM, TO), "GET", f"stats/executions?{STATS}", None, bare({"totalCount": 3}), ...),
    (
        "2026",
        lambda f: f.counts(FROM, TO),
        "GET",
        f"stats/executions-interval?{STATS}",
        None,
        bare({"result": []}),
        ...,
    ),
    ("2026", lambda f: f.times(FROM, TO), "GET", f"stats/executions-times?{STATS}", None, bare({"result": []}), ...),
    ("2026", lambda f: f.workflows(), "GET", f"workflows?{PAGED}", None, bare(NONE_LISTED), []),
    ("2026", lambda f: f.workflow(ID), "GET", f"workflows/{PATH}", None, bare({"workflowId": ID}), ...),
    ("2026", lambda f: f.create_workflow(FLOW), "POST", "workflows", FLOW, bare({"workflowId": "w"}, 201), ...),
    ("2026", lambda f: f.update_workflow(ID, FLOW), "PUT", f"workflows/{PATH}", FLOW, bare(None, 204), None),
    ("2026", lambda f: f.delete_workflow(ID), "DELETE", f"workflows/{PATH}", None, bare(True), True),
    (
        "2026",
        lambda f: f.workflow_executions(ID, filter="아침", limit=3),
        "GET",
        f"workflows/{PATH}/executions?filter=%EC%95%84%EC%B9%A8&page=0&limit=3",
        None,
        bare({"list": [{"jobExecutionId": str(n)} for n in range(3)]}),
        [{"jobExecutionId": "0"}, {"jobExecutionId": "1"}, {"jobExecutionId": "2"}],
    ),
    ("2026", lambda f: f.run_workflow(ID), "POST", f"workflows/{PATH}/executions", None, bare(ACCEPTED, 202), ...),
    ("2026", lambda f: f.jobs(), "GET", f"jobs?{PAGED}", None, bare(NONE_LISTED), []),
    (
        "2026",
        lambda f: f.jobs(name="a+b", status="DRAFT"),
        "GET",
        f"jobs?name=a%2Bb&status=DRAFT&{PAGED}",
        None,
        bare({"list": [{"jobId": "a"}]}),
        [{"jobId": "a"}],
    ),
    ("2026", lambda f: f.job(ID), "GET", f"jobs/{PATH}", None, bare({"jobId": ID}), ...),
    ("2024", lambda f: f.create_job(JOB_2024), "POST", "jobs", JOB_2024, bare({"jobId": "a"}, 201), ...),
    ("2026", lambda f: f.create_job(JOB_2026), "POST", "jobs", JOB_2026, bare({"jobId": "a"}, 200), ...),
    ("2024", lambda f: f.update_job(ID, UPDATE_2024), "PUT", f"jobs/{PATH}", UPDATE_2024, bare({"jobId": "a"}), ...),
    ("2026", lambda f: f.update_job(ID, JOB_2026), "PATCH", f"jobs/{PATH}", JOB_2026, bare({"jobId": "a"}), ...),
    ("2026", lambda f: f.delete_job(ID), "DELETE", f"jobs/{PATH}", None, bare(None, 204), True),
    ("2026", lambda f: f.verify_job(JOB_2024), "POST", "jobs/verify", JOB_2024, bare(True), True),
    ("2026", lambda f: f.verify_job(JOB_2024), "POST", "jobs/verify", JOB_2024, bare(False), False),
    ("2026", lambda f: f.job_executions(ID), "GET", f"jobs/{PATH}/executions?{PAGED}", None, bare(NONE_LISTED), []),
    ("2026", lambda f: f.job_execution(ID, "é"), "GET", f"jobs/{PATH}/executions/%C3%A9", None, bare(STARTED), ...),
    ("2026", lambda f: f.run_job(ID), "POST", f"jobs/{PATH}/executions", {}, bare(STARTED), ...),
    (
        "2024",
        lambda f: f.run_job(ID, RUN, trigger="t", workflow="w"),
        "POST",
        f"jobs/{PATH}/executions?triggerId=t&workflowId=w",
        RUN,
        bare(STARTED),
        ...,
    ),
    ("2026", lambda f: f.configure_job(ID, RUN), "PUT", f"jobs/{PATH}/executions", RUN, bare({"jobId": "a"}), ...),
    ("2026", lambda f: f.triggers(name="a"), "GET", f"triggers?name=a&{PAGED}", None, bare(NONE_LISTED), []),
    ("2026", lambda f: f.trigger(ID), "GET", f"triggers/{PATH}", None, bare({"triggerId": ID}), ...),
    ("2026", lambda f: f.create_trigger(TRIGGER), "POST", "triggers", TRIGGER, bare({"triggerId": "t"}, 201), ...),
    ("2026", lambda f: f.delete_trigger(ID), "DELETE", f"triggers/{PATH}", None, bare(True), True),
]


@pytest.mark.parametrize(
    ("api", "ask", "method", "path", "body", "act", "result"),
    OPERATIONS,
    ids=[f"{method} {path.partition('?')[0]} of {api}" for api, _, method, path, *_ in OPERATIONS],
)
def test_every_operation_has_its_path_body_and_answer(
    api: str, ask: Ask, method: str, path: str, body: Any, act: Act, result: Any
) -> None:
    got, side = run(asked(ask, act, api=api))
    (request,) = side.requests
    assert request.line == f"{method} /api/v1/{path} HTTP/1.1"
    assert (json.loads(request.body) if request.body else None) == body
    assert isinstance(got, dict) if result is ... else got == result


def test_a_life_in_data_flow() -> None:
    """Made, read, changed, run, listed, counted and removed, by both generations of documents."""

    async def life(api: str, **settings: Any) -> None:
        # By the documents of 2024 a job is made before it is configured; both bodies have what either wants.
        new = api == "2026"
        keys = [Key("AK_TEST", "SK_TEST")]
        given = {"api": api, "executions_wait": 0.0, "executions_take": 0.0, **settings}
        async with Sandbox.open(keys=keys, **given) as sandbox, flow_at(sandbox.url, api=api) as flow:
            assert await flow.verify_job(JOB_2024)
            plain = [{k: v for k, v in node.items() if k not in ("updateType", "coalesce")} for node in NODES]
            assert await flow.verify_job({"name": "job001", "nodes": plain})
            job = (await flow.create_job(JOB_2026 if new else JOB_2024))["jobId"]
            assert (await flow.update_job(job, {"type": "VISUAL"} if new else UPDATE_2024))["jobId"] == job
            assert (await flow.configure_job(job, RUN))["runCondition"]["logPath"] == CONDITION["logPath"]
            run_of = (await flow.run_job(job, RUN))["jobExecutionId"]
            assert (await flow.job_execution(job, run_of))["jobId"] == job
            assert [each["jobExecutionId"] for each in await flow.job_executions(job)] == [run_of]
            assert [each["name"] for each in await flow.jobs(name="job0")] == ["job001"]
            assert (await flow.job(job))["nodes"] == NODES
            hand = {"name": "hand", "type": "NONE", "triggerRule": {"type": "NONE"}}
            trigger = (await flow.create_trigger(hand))["triggerId"]
            assert (await flow.trigger(trigger))["name"] == (await flow.triggers(name="hand"))[0]["name"] == "hand"
            nodes = [{**START, "id": trigger}, {**STEP, "id": job, "parentNodeIds": [trigger]}]
            body = {"name": "flow1", "nodes": nodes, **({} if new else {"isTemp": False})}
            workflow = (await flow.create_workflow(body))["workflowId"]
            assert (await flow.update_workflow(workflow, {"name": "flow2", "nodes": nodes}))["name"] == "flow2"
            assert (await flow.workflow(workflow))["name"] == (await flow.workflows())[0]["name"] == "flow2"
            if new:
                assert (await flow.run_workflow(workflow))["status"] == "ACCEPTED"
            assert await flow.workflow_executions(workflow, limit=5) == []
            now = datetime.now(UTC)
            span = (now - timedelta(hours=1), now + timedelta(hours=1))
            assert (await flow.results(*span))["totalCount"] == 1
            assert sum(day["totalCount"] for day in (await flow.counts(*span))["result"]) == 1
            assert sum(step["value"] for step in (await flow.times(*span))["result"]) == 1
            assert await flow.delete_workflow(workflow)
            assert await flow.delete_trigger(trigger)
            assert await flow.delete_job(job)
            for ask in (flow.job(job), flow.workflow(workflow), flow.trigger(trigger), flow.delete_job(job)):
                with pytest.raises(Refused, match="Data Flow has nothing of that id") as gone:
                    await ask
                assert gone.value.kind == "resource-not-found"

    run(life("2026", runs_appear_after=60.0))
    run(life("2024", dates="local", count="total", newest_first=False, flow_errors="error", deletes_say="nothing"))


@pytest.mark.parametrize(
    ("act", "kind", "reason"),
    [
        (problem(404, "resource-not-found/JOB"), "resource-not-found", "has nothing of that id"),
        (problem(400, "bad-parameter", "nodes: wrong."), "bad-parameter", r"refused a value \(400 .*nodes: wrong"),
        (problem(400, "bad-state", "is RUNNING"), "bad-state", "not do that in the present state .*is RUNNING"),
        (problem(400, "client-unauthorized"), "client-unauthorized", "a service behind Data Flow refused"),
        (problem(400, "client-request-failed"), "client-request-failed", "a service that Data Flow asked"),
        (said(404, error={"errorCode": "resource-not-found/JOB", "message": "m"}), "resource-not-found", "nothing of"),
        (
            said(400, error={"errorCode": "bad-parameter", "message": "name", "details": "d"}),
            "bad-parameter",
            "name: d",
        ),
    ],
)
def test_both_shapes_of_an_error_are_understood_and_never_asked_again(act: Act, kind: str, reason: str) -> None:
    async def main() -> None:
        async with far_side(act) as side, flow_at(side.url) as flow:
            with pytest.raises(Refused, match=reason) as refused:
                await flow.job("a")
            assert (refused.value.kind, len(side.requests)) == (kind, 1)

    run(main())


def test_the_trace_stands_in_the_error() -> None:
    async def main() -> None:
        body = json.dumps({"errorType": "bad-state", "detail": "is RUNNING"})
        async with far_side(answer(400, body, {"x-ncp-trace-id": "t-17"})) as side, flow_at(side.url) as flow:
            with pytest.raises(Refused, match=r"is RUNNING, x-ncp-trace-id t-17\)"):
                await flow.job("a")

    run(main())


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (said(401, error={"errorCode": "210", "message": "Permission Denied"}), AuthExpired),
        (said(404, error={"errorCode": "300", "message": "Not Found Exception"}), Retryable),
        (problem(500, "unknown-resource-action/JOB"), Retryable),
        (answer(200, "<html>"), Unreadable),
        (bare([1]), Unreadable),
        (bare(None, 204), Unreadable),
    ],
)
def test_what_the_gateway_says_keeps_its_meaning(act: Act, error: type[DeliveryError]) -> None:
    async def main() -> None:
        async with far_side(act) as side, flow_at(side.url) as flow:
            with pytest.raises(error):
                await flow.job("a")

    run(main())


BUSY, TOO_MANY, LOST = answer(503), answer(429, headers={"Retry-After": "0"}), reset


@pytest.mark.parametrize(
    ("ask", "trouble", "requests"),
    [
        (lambda f: f.job("a"), [BUSY, TOO_MANY, LOST], 4),
        (lambda f: f.verify_job(JOB_2024), [BUSY, LOST], 3),
        (lambda f: f.update_workflow("w", FLOW), [BUSY, LOST], 3),
        (lambda f: f.create_job(JOB_2026), [TOO_MANY], 2),
        (lambda f: f.create_job(JOB_2026), [BUSY], None),
        (lambda f: f.create_job(JOB_2026), [LOST], None),
        (lambda f: f.create_workflow(FLOW), [BUSY], None),
        (lambda f: f.create_trigger(TRIGGER), [LOST], None),
        (lambda f: f.update_job("a", JOB_2026), [BUSY], None),
        (lambda f: f.configure_job("a", RUN), [BUSY], None),
        (lambda f: f.run_job("a"), [LOST], None),
        (lambda f: f.run_workflow("w"), [BUSY], None),
    ],
)
def test_only_what_may_be_done_twice_is_asked_again(ask: Ask, trouble: list[Act], requests: int | None) -> None:
    async def main() -> None:
        async with far_side(*trouble, bare({"jobId": "a"})) as side, flow_at(side.url) as flow:
            if requests is None:
                with pytest.raises(Retryable):
                    await ask(flow)
            else:
                await ask(flow)
            assert len(side.requests) == (requests or 1)

    run(main())


@pytest.mark.parametrize(
    ("error", "doubtful", "passes"),
    [
        (Retryable("no connection"), False, True),
        (Retryable("cut", ambiguous=True), True, True),
        (Retryable("TLS", operator=True), False, False),
        (Retryable("busy", status=503), True, True),
        (Retryable("request timeout", status=408), True, True),
        (Retryable("no such API", status=404, operator=True), False, False),
        (Retryable("not understood", status=400, ambiguous=True), False, False),
        (Throttled("slower", retry_after=1.0, status=429), False, True),
        (Unreadable("no JSON", status=200), True, True),
        (Refused("no", kind="bad-state", status=400), False, False),
        (AuthExpired("no", status=401), False, False),
    ],
)
def test_what_may_have_been_done_and_what_passes_are_two_questions(
    error: DeliveryError, doubtful: bool, passes: bool
) -> None:
    assert (is_doubtful(error), may_pass(error)) == (doubtful, passes)


def test_a_put_of_the_whole_job_is_asked_again_by_the_documents_of_2024() -> None:
    _, side = run(asked(lambda flow: flow.update_job("a", UPDATE_2024), BUSY, bare({"jobId": "a"}), api="2024"))
    assert [request.line.split()[0] for request in side.requests] == ["PUT", "PUT"]


def test_a_deletion_whose_answer_was_lost_has_succeeded_when_nothing_is_left() -> None:
    gone = problem(404, "resource-not-found/JOB")
    deleted, side = run(asked(lambda flow: flow.delete_job("a"), LOST, BUSY, gone))
    assert (deleted, len(side.requests)) == (True, 3)

    async def main() -> None:
        for script, reason in (((gone,), "nothing of that id"), ((bare(False),), "is not deleted")):
            async with far_side(*script) as side, flow_at(side.url) as flow:
                with pytest.raises(Refused, match=reason):
                    await flow.delete_job("a")

    run(main())


def test_a_body_with_mistakes_is_not_sent() -> None:
    async def main() -> None:
        async with far_side(bare({})) as side, flow_at(side.url) as flow:
            wrong: dict[str, Any] = {"nam": "job001"}
            for ask in (
                flow.create_job(wrong),
                flow.update_job("a", wrong),
                flow.verify_job(wrong),
                flow.run_job("a", wrong),
                flow.configure_job("a", wrong),
                flow.create_workflow(wrong),
                flow.update_workflow("a", wrong),
                flow.create_trigger(wrong),
            ):
                with pytest.raises(BadBody, match="nam: no such field"):
                    await ask
            assert side.requests == []

    run(main())


def test_the_account_says_which_documents_hold() -> None:
    async def main() -> None:
        for given, api in (({}, "2026"), ({"api": "2024"}, "2024")):
            async with open_data_flow(account("http://127.0.0.1:1", **given), "test") as flow:
                assert flow.api == api
        async with open_data_flow(account("http://127.0.0.1:1"), "test", "2024") as flow:
            assert flow.api == "2024"

    run(main())
