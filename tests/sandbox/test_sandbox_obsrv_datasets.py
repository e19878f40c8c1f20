"""The stand-in's datasets beyond what was recorded: by the source of the real service, as the wire page has it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from far import call

from agent.sandbox.obsrv import Dataset, Sandbox
from agent.sandbox.obsrv.druid import rows

ROWS = [Dataset(id="lake"), Dataset(id="draft", status="Draft"), Dataset(id="ready", status="ReadyToPublish")]


async def ask(sandbox: Sandbox, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    content = b"" if body is None else json.dumps(body).encode()
    status, _, said = await asyncio.to_thread(call, sandbox.port, method, f"/v2/datasets/{path}", content)
    answer = json.loads(said)
    return status, answer["result"] if status == 200 else answer["error"]["code"]


def envelope(api: str, **request: str) -> dict[str, Any]:
    return {"id": f"api.datasets.{api}", "ver": "v2", "ts": "1", "params": {"msgid": "m"}, "request": request}


def test_a_draft_is_made_of_a_published_dataset_when_one_is_asked_for() -> None:
    async def main() -> None:
        async with Sandbox.open(ROWS) as sandbox:
            assert await ask(sandbox, "GET", "read/none?mode=edit") == (404, "DATASET_NOT_FOUND")
            status, row = await ask(sandbox, "GET", "read/lake?mode=edit&fields=status")
            assert (status, row) == (200, {"status": "Draft"})
            assert sandbox.catalogue.drafts["lake"].status == "Draft"
            assert sandbox.catalogue.live["lake"].status == "Live"

    asyncio.run(main())


def test_a_read_that_names_no_columns_gives_few_of_them_and_an_unknown_one_is_refused() -> None:
    async def main() -> None:
        async with Sandbox.open(ROWS) as sandbox:
            _, row = await ask(sandbox, "GET", "read/lake")
            assert {"status", "type", "dataset_config", "alias"} <= row.keys()
            assert not {"data_schema", "extraction_config", "validation_config"} & row.keys()
            assert await ask(sandbox, "GET", "read/lake?fields=status,alias") == (400, "DATASET_INVALID_FIELDS")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("create", envelope("read", dataset_id="a", name="a", type="event"), 400, "DATASET_INVALID_INPUT"),
        ("create", envelope("create", name="a", type="event"), 400, "DATASET_INVALID_INPUT"),
        ("create", envelope("create", dataset_id="a", name="a", type="stream"), 400, "DATASET_INVALID_INPUT"),
        ("create", envelope("create", dataset_id="lake", name="a", type="event"), 409, "DATASET_EXISTS"),
        ("status", envelope("create", dataset_id="draft", status="Live"), 400, "_INVALID_INPUT"),
        ("status", envelope("status-transition", dataset_id="draft", status="Retired"), 400, "_INVALID_INPUT"),
        ("status", envelope("status-transition", dataset_id="draft", status="Live"), 409, "DATASET_LIVE_FAILURE"),
        ("status", envelope("status-transition", dataset_id="lake", status="Live"), 404, "DATASET_NOT_FOUND"),
        ("status", envelope("status-transition", dataset_id="ready", status="Live"), 200, "Live"),
        ("status", envelope("status-transition", dataset_id="ready", status="Delete"), 200, None),
        ("status", envelope("status-transition", dataset_id="lake", status="Retire"), 200, "Retired"),
    ],
)
def test_what_may_become_of_a_dataset(path: str, body: dict[str, Any], status: int, said: str | None) -> None:
    async def main() -> None:
        async with Sandbox.open(ROWS) as sandbox:
            path_ = path.replace("status", "status-transition")
            got, answer = await ask(sandbox, "POST", path_, body)
            assert got == status
            if status != 200:
                assert said is not None
                assert answer.endswith(said)
                return
            tables, key = sandbox.catalogue, body["request"]["dataset_id"]
            found = tables.live.get(key) or tables.drafts.get(key)
            assert (found.status if found else None) == said

    asyncio.run(main())


def test_a_limit_that_is_not_seen_is_added_and_makes_no_sql() -> None:
    events = [{"a": {"b": n}, "c": "x"} for n in range(5001)]
    assert len(rows('SELECT * FROM "lake"', events) or []) == 5000
    assert len(rows('SELECT * FROM "lake" LIMIT 9999', events) or []) == 5000
    assert rows('SELECT "a.b" FROM "lake" LIMIT 2', events) == [{"a.b": 0}, {"a.b": 1}]
    assert rows("SELECT COUNT(*) FROM lake WHERE \"c\" = 'x'", events) == [{"EXPR$0": 5001}]
    for unseen in ("limit 2", "\nLIMIT 2", "LIMIT  2", ";"):
        assert rows(f'SELECT * FROM "lake" {unseen}'.replace(" \n", "\n"), events) is None
