"""Data Flow's stand-in at work: executions and how they end, workflows and what runs in them, and what is counted."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from flow_far import RUN, account


def test_an_execution_waits_runs_and_ends_with_the_far_clock() -> None:
    async def main() -> None:
        async with account() as far:
            said = (await far.ask("POST", RUN)).value
            assert (said["status"], said["startDate"], said["type"]) == ("READY", None, "JOB")
            path = f"{RUN}/{said['jobExecutionId']}"
            far.later(59)
            assert (await far.get(path))["status"] == "READY"
            far.later(61)
            found = await far.get(path)
            assert (found["status"], found["waitingTime"], found["runningTime"]) == ("RUNNING", 1, 1)
            assert found["startDate"]
            assert found["endDate"] is None
            assert found["jobCondition"]["consoleLogPath"] == f"bucket/logs/{found['jobExecutionId']}/console.log"
            assert [job["jobId"] for job in await far.listed("/jobs?status=RUNNING")] == ["J1"]
            far.later(541)
            found = await far.get(path)
            assert (found["status"], found["runningTime"]) == ("COMPLETED", 10)
            assert found["endDate"] > found["startDate"] > found["createdDate"]
            (job,) = await far.listed("/jobs?name=J1")
            assert (job["status"], job["lastExecutionStatus"]) == ("RUNNABLE", "COMPLETED")
            assert job["lastExecutionDate"] == found["createdDate"]

    asyncio.run(main())


def test_it_is_ready_at_first_however_short_it_is() -> None:
    async def main() -> None:
        async with account(executions_wait=0, executions_take=0) as far:
            said = (await far.ask("POST", RUN)).value
            assert said["status"] == "READY"
            far.later(1)
            assert await far.status(said["jobExecutionId"]) == "COMPLETED"

    asyncio.run(main())


def test_an_execution_ends_as_it_is_told_to() -> None:
    async def main() -> None:
        async with account(executions_end="CANCELED") as far:
            far.flow.outcome(job="J1", end="COMPLETED")
            far.flow.outcome(job="J1", end="FAILED", count=1)  # said last, so the next one is this
            runs = [await far.start(), await far.start()]
            (other,) = [(await far.ask("POST", "/jobs/J2/executions")).value["jobExecutionId"]]
            far.flow.outcome(take=0, wait=0, end="COMPLETED")
            short = await far.start()
            far.later(1)
            assert await far.status(short) == "COMPLETED"
            assert await far.status(runs[0]) == "READY"
            far.flow.cut(runs[1], "FAILED")
            assert await far.status(runs[1]) == "FAILED"
            far.later(700)
            assert [await far.status(run) for run in runs] == ["FAILED", "FAILED"]
            assert (await far.get(f"/jobs/J2/executions/{other}"))["status"] == "CANCELED"
            assert far.flow.report() == {
                "executions": {"J1": 3, "J2": 1},
                "ends": {"FAILED": 2, "CANCELED": 1, "COMPLETED": 1},
            }

    asyncio.run(main())


def test_a_workflow_is_accepted_and_runs_its_jobs_one_after_the_other() -> None:
    async def main() -> None:
        async with account() as far:
            said = await far.ask("POST", "/workflows/W1/executions")
            assert said.value == {"workflowId": "W1", "triggerId": "T1", "status": "ACCEPTED"}
            assert await far.listed("/workflows/W1/executions") == []
            far.later(31)
            (first,) = await far.listed("/workflows/W1/executions")
            assert [first[name] for name in ("jobId", "status", "type")] == ["J1", "READY", "WORKFLOW"]
            assert (first["triggerId"], first["triggerName"]) == ("T1", "by-hand")
            far.later(660)
            second, first = await far.listed("/workflows/W1/executions")
            assert [first["status"], second["jobId"], second["status"]] == ["COMPLETED", "J2", "READY"]
            # The second was made when the first ended, and not when somebody looked.
            assert second["createdDate"] == first["endDate"]
            far.later(10_000)
            assert {run["status"] for run in await far.listed("/workflows/W1/executions")} == {"COMPLETED"}
            assert await far.listed("/workflows/W1/executions?filter=other") == []
            assert far.flow.report()["executions"] == {"J1": 1, "J2": 1}
            (listed,) = await far.listed("/workflows")
            assert listed["lastExecutionDate"] == second["createdDate"]

    asyncio.run(main())


def test_a_job_that_does_not_complete_ends_its_workflow() -> None:
    async def main() -> None:
        async with account(executions_end="FAILED") as far:
            await far.ask("POST", "/workflows/W1/executions")
            alone = await far.start()
            far.later(10_000)
            (run,) = await far.listed("/workflows/W1/executions")
            assert run["status"] == "FAILED"
            assert run["jobExecutionId"] != alone
            assert far.flow.report() == {"executions": {"J1": 2}, "ends": {"FAILED": 2}}

    asyncio.run(main())


def test_a_node_says_when_what_it_points_to_is_gone_and_then_nothing_runs() -> None:
    async def main() -> None:
        async with account() as far:
            assert [node["isValid"] for node in (await far.get("/workflows/W1"))["nodes"]] == [True, True, True]
            assert (await far.ask("DELETE", "/jobs/J2")).body == b"true"
            nodes = (await far.get("/workflows/W1"))["nodes"]
            assert [node["isValid"] for node in nodes] == [True, True, False]
            said = await far.ask("POST", "/workflows/W1/executions")
            assert (said.status, said.value["errorType"]) == (400, "bad-state")
            assert "J2" in said.value["detail"]
            # What came out goes in again, isValid and all, once it is mended.
            mended = {"name": "nightly", "nodes": nodes[:2]}
            assert (await far.ask("PUT", "/workflows/W1", mended)).status == 200
            assert (await far.ask("POST", "/workflows/W1/executions")).status == 202

    asyncio.run(main())


def test_a_job_that_runs_is_not_changed_deleted_or_run_more_often_than_it_may() -> None:
    async def main() -> None:
        async with account() as far:
            assert (await far.ask("PATCH", "/jobs/J1", {"type": "SCRIPT", "maxConcurrentRuns": 1})).status == 200
            await far.start()
            for method, path in (("DELETE", "/jobs/J1"), ("PATCH", "/jobs/J1"), ("POST", RUN)):
                said = await far.ask(method, path, {"type": "SCRIPT"})
                assert said.value["errorType"] == "bad-state", (method, path)
            far.later(700)
            await far.start()
            assert far.flow.report()["executions"] == {"J1": 2}
            far.sandbox.settings.edits_running = True
            assert (await far.ask("DELETE", "/jobs/J1")).body == b"true"
            assert (await far.ask("POST", RUN)).status == 404

    asyncio.run(main())


def test_a_job_runs_with_its_own_condition_where_it_is_given_none() -> None:
    async def main() -> None:
        async with account() as far:
            wanted = {"numWorker": 4, "parameters": {"day": "monday"}}
            said = await far.ask("PUT", RUN, {"jobCondition": wanted})
            assert said.value["runCondition"] == {"timeout": 360, "logPath": "bucket/logs/", **wanted}
            assert (await far.ask("POST", RUN)).value["parsedParameters"] == {"day": "monday"}
            once = {"jobCondition": {"numWorker": 8}}
            said = await far.ask("POST", f"{RUN}?triggerId=T1&workflowId=W1", once)
            assert (said.value["jobCondition"]["numWorker"], said.value["type"]) == (8, "WORKFLOW")
            assert (await far.get("/jobs/J1"))["runCondition"]["numWorker"] == 4

    asyncio.run(main())


def test_the_statistics_count_what_ran_by_its_end_its_day_and_its_two_hours() -> None:
    async def main() -> None:
        async with account(executions_wait=0, executions_take=0, dates="local") as far:
            far.later(1_742_313_600 - far.sandbox.state.now_ms() / 1000)  # 2025-03-19T01:00:00+09:00
            far.flow.outcome(end="FAILED", count=1)
            await far.start()
            await far.start()
            far.later(86_400)
            await far.start()
            far.later(1)
            span = "startDate=2025-03-19T00:00:00&endDate=2025-03-20T23:59:59"
            found = await far.get(f"/stats/executions?{span}")
            assert found == {"totalCount": 3, "completedCount": 2, "failedCount": 1}
            first, second = (await far.get(f"/stats/executions-interval?{span}"))["result"]
            assert first == {
                "totalCount": 2,
                "startDate": "2025-03-19T00:00:01.000",
                "endDate": "2025-03-20T00:00:00.000",
            }
            assert second["totalCount"] == 1
            steps = (await far.get(f"/stats/executions-times?{span}"))["result"]
            assert {later["time"] - step["time"] for step, later in pairwise(steps)} == {7_200_000}
            assert [step["value"] for step in steps if step["value"]] == [2, 1]

    asyncio.run(main())
