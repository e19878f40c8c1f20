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
from agent.sinks.cloud_insight import CloudInsight, preset, verify
from agent.sinks.cloud_insight.fields import fields_of
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


@pytest.mark.parametrize(("query_shape", "clock_offset"), [("array", 600), ("data", -600)])
def test_what_comes_back_is_the_evidence(
    query_shape: str, clock_offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "WAIT", 10.0)

    async def main() -> None:
        async with Sandbox.open([ROW], keys=KEYS, query_shape=query_shape, clock_offset=clock_offset) as sandbox:
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
            assert f"count = {row.metrics['count']} of device = telemetry-agent-verify in Custom/P" in said[0]
            assert said[1].startswith("taken")

    run(main())


def test_what_does_not_come_back_is_unverified_and_says_what_was_asked() -> None:
    async def main() -> None:
        async with Sandbox.open([ROW], keys=KEYS) as sandbox:
            with pytest.raises(Unverified, match=r"count = \d+ .* was taken, but not read back within 0 s"):
                await sink(sandbox.url).verify(lambda line: None)

    run(main())


def untyped(rollup: Any) -> Metric:
    return Metric(field="n", rollup=rollup)


@pytest.mark.parametrize(
    ("metrics", "written"),
    [
        ({"count": Metric(field="n", type="LONG"), "v": Metric(field="v", type="FLOAT")}, "v"),
        ({"count": "n", "v": untyped("rate")}, "v"),
        ({"v": untyped("avg")}, "v"),
        ({"state": Metric(field="s", type="STRING"), "count": Metric(field="n", type="LONG")}, "count"),
        ({"count": "n"}, "count"),
        ({"count": untyped("max")}, "count"),
    ],
)
def test_what_is_written_is_too_small_for_any_rule(metrics: dict[str, str | Metric], written: str) -> None:
    async def main() -> None:
        seen = set()
        async with far_side(said(200, result="fail")) as side:
            for _ in range(30):
                with pytest.raises(Retryable):
                    await sink(side.url, metrics=metrics).verify(lambda line: None)
        for request in side.requests:
            (row,) = json.loads(request.body)["data"]
            assert row.keys() == {"device", "site", written}
            assert b"e-" not in request.body.partition(written.encode() + b'":')[2]  # an exponent
            seen.add(row[written])
        if written == "v":
            assert all(0.0001 <= value < 0.001 for value in seen)
            assert len(seen) == 30
        else:
            assert all(isinstance(value, int) and 1 <= value < 50 for value in seen)
            assert len(seen) > 10

    run(main())


def test_the_presets_proof_is_no_alarm_for_the_cpu() -> None:
    async def main() -> None:
        said_: list[str] = []
        fields = [field.row() for field in fields_of(preset.host(KEY))]
        async with Sandbox.open([{"cw_key": KEY, "prodName": "Custom/H", "fields": fields}], keys=KEYS) as sandbox:
            sandbox.settings.visible_after = 0.0
            made = sink(sandbox.url, schema=(), preset="host", cw_key=KEY)
            evidence = await made.verify(said_.append)
            (row,) = sandbox.stored(KEY)
            assert row.dropped == {}
            assert 0 < float(row.metrics["avg_cpu_used_rto"]) < 0.001
            assert "avg_cpu_used_rto = 0.000" in evidence
            assert "avg_cpu_used_rto = 0.000" in said_[0]

    run(main())


@pytest.mark.parametrize(("off", "is_proof"), [(6e-11, True), (-6e-11, True), (1e-9, False), (-1e-9, False)])
def test_a_float_of_32_bits_is_the_same_number_and_the_next_one_is_not(off: float, is_proof: bool) -> None:
    async def main() -> None:
        async def points(writer: asyncio.StreamWriter) -> None:
            sent, *_, asked = (json.loads(request.body) for request in side.requests)
            number = sent["data"][0]["v"]
            # Two numbers that are no point, then the point.
            await said(200, page=[1, number], data=[[asked["timeEnd"] - 60_000, number + off]])(writer)

        async with far_side(said(200, result="success"), points) as side:
            made = sink(side.url, metrics={"v": Metric(field="v", type="FLOAT")})
            if is_proof:
                assert "read back" in await made.verify(lambda line: None)
            else:
                with pytest.raises(Unverified):
                    await made.verify(lambda line: None)

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
