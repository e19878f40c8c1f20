"""Data Flow's stand-in against what is published of its operations: each row of flow_table.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flow_table import DAILY, NODES, OPERATIONS, REFUSALS
from ncloud_client import KEY, SECRET, Said, call

from agent.sandbox.ncloud import Key, Sandbox
from agent.sandbox.ncloud.flow.calls import ROUTES


async def asked(row_path: str, generation: str, method: str, body: Any) -> Said:
    """What an account with a little of everything answers to one request."""
    async with Sandbox.open(keys=[Key(KEY, SECRET)], api=generation, executions_take=0) as sandbox:
        flow = sandbox.flow
        flow.add_job("V1", "visual", type="VISUAL", nodes=NODES)
        flow.add_job("D1", "draft", type="VISUAL")
        job = flow.add_job("J1", "clean")
        flow.add_trigger("S1", "daily", type="SCHEDULED", rule=DAILY)
        flow.add_trigger("T1", "by-hand")
        flow.add_workflow("W2", "timed", trigger="S1", jobs=["J1"])
        flow.add_workflow("W1", "nightly", trigger="T1", jobs=["J1"])
        # Long over, so that nothing is under way.
        ran = flow.start(job, at=sandbox.state.now_ms() - 60_000, trigger="T1", workflow="W1")
        path = f"/api/v1{row_path}".replace("{execution}", ran.id)
        return await asyncio.to_thread(call, sandbox.port, method, path, body)


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: f"{row[1]} {row[2].partition('?')[0]} {row[0]}")
def test_an_operation_answers_with_the_fields_of_its_page(row: tuple[str, str, str, Any, int, Any]) -> None:
    generation, method, path, body, status, has = row
    said = asyncio.run(asked(path, generation, method, body))
    assert said.status == status, said
    match has:
        case True:
            assert said.body == b"true"
        case [fields]:
            assert list(said.value) == ["list", "count", "page", "limit"]
            assert list(said.value["list"][0]) == fields.split()
            assert (said.value["page"], said.value["limit"]) == (0, 1000)
            assert said.value["count"] == len(said.value["list"])
        case fields:
            assert list(said.value) == fields.split()


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: f"{row[0]}: {row[2]} {row[3].partition('?')[0]}")
def test_a_rule_that_is_broken_is_a_problem_document(row: tuple[str, str, str, str, Any, str, str]) -> None:
    _, generation, method, path, body, kind, detail = row
    said = asyncio.run(asked(path, generation, method, body))
    content = said.value
    title, status = ("Not Found", 404) if kind.startswith("resource-not-found/") else ("Bad Request", 400)
    assert list(content) == ["type", "title", "status", "detail", "instance", "errorType"]
    assert (said.status, content["status"], content["title"], content["errorType"]) == (status, status, title, kind)
    assert content["detail"].startswith(detail)
    place = path.partition("?")[0]
    assert "{execution}" in place or content["instance"] == f"/dataflow/api{place}"


def test_there_is_a_row_for_every_operation_and_each_row_is_another() -> None:
    def route(path: str) -> str:
        where = path.partition("?")[0].split("/")
        if len(where) > 2 and where[2] != "verify" and where[1] != "stats":
            where[2] = f"{{{where[1].removesuffix('s')}Id}}"
        return "/api/v1" + "/".join(where).replace("{execution}", "{executionId}")

    assert {(method, route(path)) for _, method, path, *_ in OPERATIONS} == set(ROUTES)
    # The list of operations has 24, and updateJob is in it by PUT and, since 2026, by PATCH.
    assert len(ROUTES) == 25
    broken = [(generation, method, path, str(body)) for _, generation, method, path, body, *_ in REFUSALS]
    assert len(set(broken)) == len(broken)


@pytest.mark.parametrize(
    ("generation", "method", "path"),
    [
        ("2026", "PUT", "/jobs/J1"),
        ("2024", "PATCH", "/jobs/J1"),
        ("2024", "POST", "/workflows/W1/executions"),
        ("2026", "POST", "/jobs/J1"),
        ("2026", "GET", "/jobs/"),
        ("2026", "GET", "/dashboard/execution-count"),
        ("2026", "GET", "/stats/execution-times"),
    ],
)
def test_what_is_no_operation_of_its_time_the_gateway_does_not_know(generation: str, method: str, path: str) -> None:
    said = asyncio.run(asked(path, generation, method, {"type": "SCRIPT"}))
    assert (said.status, said.code) == (404, "300")
