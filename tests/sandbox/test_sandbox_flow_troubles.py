"""Data Flow's stand-in: what goes wrong on demand, what can be chosen, and what is had of it from outside."""

from __future__ import annotations

import asyncio
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from flow_far import RUN, account

from agent.sandbox.ncloud import Key, ledger
from agent.sandbox.ncloud.process import Process
from agent.sandbox.ncloud.troubles import BY_NAME


@pytest.mark.parametrize(
    ("fault", "options", "comes", "ran"),
    [
        ("reset", {"stage": "arrival"}, None, 0),
        ("reset", {"stage": "stored"}, None, 1),
        ("hang", {"stage": "lookup"}, None, 0),
        ("hang", {"stage": "stored"}, None, 1),
        ("half_answer", {}, None, 1),
        ("gateway", {"code": "410"}, 429, 0),
        ("gateway", {"code": "500"}, 503, 0),
        ("gateway", {"code": "510", "stored": True}, 504, 1),
        ("unavailable", {"retry_after": 1}, 503, 0),
        ("unconfirmed", {}, 200, 1),
        ("problem", {}, 400, 0),
        ("problem", {"kind": "unknown-resource-action/JOB", "status": 500, "stored": True}, 500, 1),
    ],
)
def test_a_fault_meets_the_start_of_a_job_before_it_runs_or_after(
    fault: str, options: dict[str, Any], comes: int | None, ran: int
) -> None:
    async def main() -> None:
        async with account() as far:
            far.sandbox.faults.add(BY_NAME[fault](**options, dataset=f"POST /api/v1{RUN}", count=1))
            # Neither another path nor another method is meant.
            assert (await far.ask("GET", RUN)).value["list"] == []
            assert (await far.ask("POST", "/jobs/J2/executions")).status == 200
            if comes is None:
                with pytest.raises((OSError, HTTPException)):
                    await far.ask("POST", RUN, timeout=0.3)
            else:
                said = await far.ask("POST", RUN)
                assert said.status == comes
                if fault == "problem":
                    kind = options.get("kind", "bad-state")
                    assert (said.value["errorType"], said.value["instance"]) == (kind, f"/dataflow/api{RUN}")
            assert far.sandbox.faults.hits == 1
            assert len(await far.listed(RUN)) == ran
            assert (await far.ask("POST", RUN)).status == 200

    asyncio.run(main())


def test_lists_come_by_the_page_in_either_order_and_count_means_one_thing_or_the_other() -> None:
    async def main() -> None:
        async with account(newest_first=False) as far:
            runs = [await far.start() for _ in range(5)]

            async def pages(limit: int) -> list[list[str]]:
                found = []
                for number in range(9):
                    said = await far.get(f"{RUN}?page={number}&limit={limit}")
                    assert (said["page"], said["limit"]) == (number, limit)
                    total = far.sandbox.settings.count == "total"
                    assert said["count"] == (len(runs) if total else len(said["list"]))
                    found.append([run["jobExecutionId"] for run in said["list"]])
                    if len(found[-1]) < limit:
                        break
                return found

            assert await pages(2) == [runs[:2], runs[2:4], runs[4:]]
            assert await pages(5) == [runs, []]
            far.sandbox.settings.change({"newest_first": True, "count": "total"})
            assert await pages(4) == [runs[:0:-1], runs[:1]]

    asyncio.run(main())


def test_dates_come_in_the_style_that_is_set_and_both_are_understood() -> None:
    async def main() -> None:
        # A moment whose name is known: an hour into a day of the far side's zone, UTC+9.
        async with account(executions_wait=0, executions_take=60) as far:
            far.later(1_742_313_600 - far.sandbox.state.now_ms() / 1000)  # 2025-03-19T01:00:00+09:00
            await far.start()
            (run,) = await far.listed(RUN)
            assert run["createdDate"].startswith("2025-03-19T01:00:0")
            assert run["createdDate"].endswith("+09:00")
            far.sandbox.settings.dates = "local"
            (run,) = await far.listed(RUN)
            assert run["createdDate"].startswith("2025-03-19T01:00:0")
            assert len(run["createdDate"]) == len("2023-10-20T13:45:15.000")
            for start, end, total in (
                ("2025-03-19T00:00:00", "2025-03-19T23:59:59", 1),
                ("2025-03-18T16:00:00Z", "2025-03-18T16:30:00Z", 1),
                ("2025-03-19T00:00:00%2B09:00", "2025-03-19T00:59:59%2B09:00", 0),
            ):
                span = f"startDate={start}&endDate={end}"
                found = await far.get(f"/stats/executions?{span}")
                assert found == {"totalCount": total, "completedCount": 0, "failedCount": 0}, span

    asyncio.run(main())


def test_what_the_pages_leave_open_can_be_chosen() -> None:
    async def main() -> None:
        async with account(flow_errors="error", verify_failure="false", deletes_say="nothing") as far:
            said = await far.ask("GET", "/jobs/aa")
            assert said.status == 404
            assert said.value["error"]["errorCode"] == "resource-not-found/JOB"
            assert (await far.ask("POST", "/jobs/verify", {"name": "a"})).body == b"false"
            said = await far.ask("DELETE", "/workflows/W1")
            assert (said.status, said.body) == (204, b"")
            node = {"id": "T1", "name": "t", "type": "TRIGGER", "parentNodeIds": []}
            draft = {"name": "flow1", "nodes": [node], "isTemp": True}
            assert (await far.ask("POST", "/workflows", draft)).status == 400
            far.sandbox.settings.takes_is_temp = True
            made = (await far.ask("POST", "/workflows", draft)).value
            assert made["isTemp"] is True
            assert (await far.ask("POST", f"/workflows/{made['workflowId']}/executions")).status == 400
            await far.start()
            far.sandbox.settings.executions_listed_after = 60
            assert await far.listed(RUN) == []
            far.later(61)
            assert len(await far.listed(RUN)) == 1

    asyncio.run(main())


def test_what_the_gateway_refuses_it_refuses_in_its_own_words() -> None:
    async def main() -> None:
        async with account() as far:
            far.sandbox.keys.add(Key("AK_SENDS", "SK_SENDS", frozenset({"send"})))
            said = await far.ask("POST", RUN, key="AK_SENDS", secret="SK_SENDS")
            assert (said.status, said.code) == (401, "210")
            said = await far.ask("POST", RUN, secret="SK_OTHER")
            assert (said.status, said.code) == (401, "200")
            far.later(1)
            said = await far.ask("POST", RUN, b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"})
            assert (said.status, said.code) == (400, "100")
            assert far.flow.executions() == []

    asyncio.run(main())


def test_an_id_is_decoded_from_its_segment_and_no_slash_divides_it() -> None:
    async def main() -> None:
        async with account() as far:
            far.flow.add_job("a/b c", "odd")
            assert (await far.get("/jobs/a%2Fb%20c"))["name"] == "odd"
            assert (await far.ask("GET", "/jobs/a/b%20c")).code == "300"

    asyncio.run(main())


def test_all_of_it_can_be_had_from_outside_and_the_journal_says_what_ran(tmp_path: Path) -> None:
    async def main() -> None:
        journal = tmp_path / "journal"
        async with account(journal=journal) as far:
            process = Process(far.sandbox.url, journal)

            def outside() -> None:
                process.job("J3", "third", type="SCRIPT")
                process.trigger("T3")
                process.workflow("W3", trigger="T3", jobs=["J3"])
                process.outcome(job="J3", wait=0, take=0, end="FAILED")
                process.begin("J3")
                process.begin("J1")
                process.cut(process.executions("J1")[0]["id"])

            await asyncio.to_thread(outside)
            far.later(1)
            assert (await far.get("/workflows/W3"))["nodes"][1]["id"] == "J3"
            by_job = [(run["job"], run["status"]) for run in await asyncio.to_thread(process.executions)]
            assert by_job == [("J3", "FAILED"), ("J1", "CANCELED")]
            report = await asyncio.to_thread(process.report)
            assert report["executions"] == {"J3": 1, "J1": 1}
            assert report["ends"] == {"FAILED": 1, "CANCELED": 1}
            with pytest.raises(OSError, match="400"):
                await asyncio.to_thread(process.workflow, "W4", trigger="T4", jobs=["J4"])
        lines = ledger.read_journal(journal)["execution"]
        assert sorted((line["job"], line["status"]) for line in lines) == [
            ("J1", "CANCELED"),
            ("J1", "READY"),
            ("J3", "FAILED"),
            ("J3", "READY"),
        ]
        assert len({line["id"] for line in lines}) == 2
        assert all(line["at"] > 0 for line in lines)

    asyncio.run(main())
