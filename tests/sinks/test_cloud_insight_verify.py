"""`verify-delivery`: a row with a number that nobody else sends, read back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from far_side import far_side, run, said, until

from agent.errors import AuthExpired, Retryable, Unverified
from agent.sandbox.ncloud import Key, Sandbox
from agent.schema import Secret
from agent.sinks.cloud_insight import CloudInsight, verify
from agent.sinks.cloud_insight.schema import Metric, Schema

KEY = "460438474722512896"
KEYS = [Key("AK", "SK")]
FIELDS = [
    {"name": "device", "dataType": "STRING", "dimension": True, "idDimension": True},
    {"name": "site", "dataType": "STRING", "dimension": True},
    {"name": "state", "dataType": "STRING", "metric": True},
    {"name": "count", "dataType": "INTEGER", "metric": True, "aggregations": {"Min1": ["MAX"]}},
]
ROW = {"cw_key": KEY, "prodName": "Custom/P", "fields": FIELDS}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "ASK_EVERY", 0.02)
    monkeypatch.setattr(verify, "WAIT", 0.3)


def sink(url: str, **options: Any) -> CloudInsight:
    metrics: dict[str, str | Metric] = {
        "state": Metric(field="s", type="STRING"),
        "count": Metric(field="n", type="INTEGER"),
    }
    dimensions: dict[str, Any] = {"device": "device", "site": "site"}
    schema = Schema(cw_key=KEY, name="Custom/P", dimensions=dimensions, metrics=options.pop("metrics", metrics))
    given = {"access_key": Secret("AK"), "secret_key": Secret("SK"), "url": url, "schema": (schema,), **options}
    return CloudInsight(**given)


@pytest.mark.parametrize("query_shape", ["array", "data"])
def test_what_comes_back_is_the_evidence(query_shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "WAIT", 10.0)

    async def main() -> None:
        async with Sandbox.open([ROW], keys=KEYS, query_shape=query_shape, clock_offset=600) as sandbox:
            said: list[str] = []
            proof = asyncio.create_task(sink(sandbox.url).verify(said.append))
            await until(lambda: sum("query" in request.target for request in sandbox.requests) > 3)
            assert not proof.done()
            sandbox.settings.visible_after = 0.0
            evidence = await proof
            (row,) = sandbox.stored(KEY)
            assert row.dimensions == {"device": "telemetry-agent-verify", "site": "telemetry-agent-verify"}
            assert f"count = {row.metrics['count']}" in evidence
            assert "as the MAX of" in evidence  # this schema has no AVG
            assert "Custom/P" in said[0]

    run(main())


def test_what_does_not_come_back_is_unverified_and_says_what_was_asked() -> None:
    async def main() -> None:
        async with Sandbox.open([ROW], keys=KEYS) as sandbox:
            with pytest.raises(Unverified, match=r"count = \d+ .* was taken, but not read back within 0 s"):
                await sink(sandbox.url).verify(lambda line: None)

    run(main())


def test_an_answer_that_is_another_rows_is_no_proof() -> None:
    async def main() -> None:
        points = said(200, data=[[1700000000000, 5.0], [1700000060000, None]], other="x")
        async with far_side(said(200, result="success"), points) as side:
            with pytest.raises(Unverified):
                await sink(side.url).verify(lambda line: None)
            asked = json.loads(side.requests[1].body)
            assert asked.keys() >= {"timeStart", "timeEnd", "cw_key", "metric", "dimensions", "interval", "aggregation"}

    run(main())


def test_what_is_not_taken_is_not_asked_for() -> None:
    async def main() -> None:
        async with far_side(said(200, result="fail")) as side:
            with pytest.raises(Retryable, match="the result is"):
                await sink(side.url).verify(lambda line: None)
            assert len(side.requests) == 1
        async with far_side(said(403)) as side:
            with pytest.raises(AuthExpired):
                await sink(side.url).verify(lambda line: None)

    run(main())


def test_a_key_that_may_not_query_is_told() -> None:
    async def main() -> None:
        async with Sandbox.open([ROW], keys=[Key("AK", "SK", frozenset({"send"}))]) as sandbox:
            with pytest.raises(AuthExpired, match="no right"):
                await sink(sandbox.url).verify(lambda line: None)

    run(main())


def test_texts_alone_cannot_be_proved() -> None:
    async def main() -> None:
        made = sink("http://127.0.0.1:1", metrics={"state": Metric(field="s", type="STRING")})
        with pytest.raises(Unverified, match="texts alone"):
            await made.verify(lambda line: None)

    run(main())
