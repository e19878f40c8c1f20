"""Cloud Insight behind the gateway: what of the rows can be read back, and the calls about schemas."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ncloud_client import CW_KEY, KEY, QUERY, ROW, SCHEMA, SECRET, Said, call, send

from agent.sandbox.ncloud import Key, Sandbox

KEYS = [Key(KEY, SECRET)]
MINUTE = 60_000


def opened(**options: Any) -> Any:
    return Sandbox.open([ROW], keys=KEYS, **options)


async def ask(sandbox: Sandbox, *, ahead: float = 0.0, **asked: Any) -> Said:
    now = sandbox.state.now_ms()
    body = {"timeStart": now - 60 * MINUTE, "timeEnd": now, "cw_key": CW_KEY, "metric": "cpu", "dimensions": {}} | asked
    return await asyncio.to_thread(call, sandbox.port, "POST", QUERY, body, ahead=ahead)


async def put(sandbox: Sandbox, *records: dict[str, Any], ahead: float = 0.0, **how: Any) -> None:
    said = await asyncio.to_thread(send, sandbox.port, *records, ahead=ahead, **how)
    assert said.value["result"] == "success"


def test_rows_are_aggregated_by_the_minute_they_arrive_in() -> None:
    async def main() -> None:
        async with opened(visible_after=0) as sandbox:
            at = sandbox.state.now_ms() // MINUTE * MINUTE
            # In the first second of a minute, whatever the time is.
            sandbox.settings.clock_offset = offset = (at + MINUTE - sandbox.state.now_ms()) / 1000
            await put(sandbox, {"cpu": 1, "host": "a"}, {"cpu": 5, "host": "a"}, {"cpu": 7, "host": "b"}, ahead=offset)
            sandbox.settings.clock_offset = later = offset + 60
            await put(sandbox, {"cpu": 3, "host": "a"}, ahead=later)
            first, second = at + MINUTE, at + 2 * MINUTE
            series: dict[str, Any] = {"dimensions": {"host": "a"}, "ahead": later}
            assert (await ask(sandbox, **series)).value == [[first, 3.0], [second, 3.0]]
            assert (await ask(sandbox, **series, aggregation="MAX")).value == [[first, 5], [second, 3]]
            assert (await ask(sandbox, **series, timeStart=first + 1)).value == [[second, 3.0]]
            assert (await ask(sandbox, **series, timeEnd=first)).value == [[first, 3.0]]
            # Where the dimensions leave two series, one value is made of theirs: here of 3 and 7.
            assert (await ask(sandbox, ahead=later)).value == [[first, 5.0], [second, 3.0]]
            assert (await ask(sandbox, ahead=later, queryAggregation="MIN")).value[0] == [first, 3.0]
            assert sandbox.points(CW_KEY, "cpu", {"host": "b"}) == [(first, 7.0)]
            five = sandbox.points(CW_KEY, "cpu", {"host": "a"}, interval="Min5")
            assert sum(value for _, value in five) in (3.0, 6.0)  # one stretch of five minutes, or two

    asyncio.run(main())


def test_an_aggregation_that_the_schema_has_not_gives_nothing() -> None:
    async def main() -> None:
        async with opened(visible_after=0) as sandbox:
            await put(sandbox, {"cpu": 1, "count": 2, "state": "ok", "host": "a"}, {"count": 4, "host": "a"})
            assert (await ask(sandbox, aggregation="SUM")).value == []
            assert (await ask(sandbox, aggregation="AVG", interval="Min30")).value == []
            # Where the schema names none, there is every function at every interval.
            for function, value in {"SUM": 6, "COUNT": 2, "MIN": 2, "MAX": 4, "AVG": 3.0}.items():
                said = await ask(sandbox, metric="count", aggregation=function, interval="Day1", timeStart=0)
                assert [value for _, value in said.value] == [value]
            assert [value for _, value in (await ask(sandbox, metric="state", aggregation="COUNT")).value] == [1]
            assert (await ask(sandbox, metric="state", aggregation="MAX")).value == []
            assert (await ask(sandbox, metric="host")).value == []
            assert (await ask(sandbox, metric="nothing")).value == []
            assert (await ask(sandbox, cw_key="17")).value == []

    asyncio.run(main())


def test_rows_can_be_read_back_only_after_a_while() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            await put(sandbox, {"cpu": 1, "host": "a"})
            assert (await ask(sandbox)).value == []
            sandbox.settings.clock_offset = 61
            assert len((await ask(sandbox, ahead=61)).value) == 1
            sandbox.settings.query_shape = "data"
            assert list((await ask(sandbox, ahead=61)).value) == ["data"]

    asyncio.run(main())


def test_rows_without_a_target_or_without_their_region_are_never_seen() -> None:
    async def main() -> None:
        async with opened(visible_after=0, needs_region="7") as sandbox:
            await put(sandbox, {"cpu": 1, "host": "a"}, headers={"X-NCP-REGION_NO": "8"})
            await put(sandbox, {"cpu": 2, "host": "a"})
            await put(sandbox, {"cpu": 4}, headers={"X-NCP-REGION_NO": "7"})
            assert (await ask(sandbox)).value == []
            assert [row.region for row in sandbox.stored(CW_KEY)] == ["8", None]
            await put(sandbox, {"cpu": 3, "host": "a"}, headers={"X-NCP-REGION_NO": "7"})
            assert [value for _, value in (await ask(sandbox)).value] == [3.0]

    asyncio.run(main())


def test_a_timestamp_counts_only_where_so_set() -> None:
    async def main() -> None:
        async with opened(visible_after=0) as sandbox:
            early = sandbox.state.now_ms() // MINUTE * MINUTE - 10 * MINUTE
            row = {"cpu": 1, "host": "a", "timestamp": early}
            await put(sandbox, row)
            assert [at for at, _ in (await ask(sandbox)).value] != [early]
            sandbox.settings.honours_timestamp = True
            await put(sandbox, row)
            assert (await ask(sandbox)).value[0] == [early, 1.0]

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeStart": "1"},
        {"timeEnd": 0},
        {"cw_key": 460438474722512897},
        {"metric": None},
        {"dimensions": None},
        {"interval": "Min2"},
        {"aggregation": "avg"},
        {"queryAggregation": "LAST"},
    ],
    ids=str,
)
def test_a_query_is_refused_where_it_is_not_as_documented(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            said = await ask(sandbox, **wrong)
            assert (said.status, said.code) == (400, "100")

    asyncio.run(main())


async def schema(sandbox: Sandbox, method: str, query: str = "", body: object = None) -> Said:
    return await asyncio.to_thread(call, sandbox.port, method, SCHEMA + query, body)


def test_a_schema_is_made_read_changed_and_deleted() -> None:
    body = {key: ROW[key] for key in ("prodName", "fields")}

    async def main() -> None:
        async with Sandbox.open(keys=KEYS) as sandbox:
            said = await schema(sandbox, "POST", body=body)
            cw_key = said.value["cw_key"]
            assert isinstance(cw_key, str)
            assert int(cw_key) > 2**53
            found = (await schema(sandbox, "GET", "?prodName=Custom/Agent")).value
            assert set(found) == {"cw_key", "prodName", "fields", "useCustomResource", "secret"}
            assert (found["cw_key"], found["prodName"], found["useCustomResource"]) == (cw_key, "Custom/Agent", False)
            assert [item["name"] for item in found["fields"]] == ["host", "mount", "cpu", "count", "bytes", "state"]
            assert [item["idDimension"] for item in found["fields"]] == [True, *[False] * 5]
            assert found["fields"][2]["aggregations"] == {"Min1": ["AVG", "MAX"], "Min5": ["AVG"]}
            assert set(found["fields"][3]["aggregations"]) == {"Min1", "Min5", "Min30", "Hour2", "Day1"}
            assert (await asyncio.to_thread(send, sandbox.port, {"cpu": 1, "host": "a"}, cw_key=cw_key)).status == 200
            changed = {"prodName": "Custom/Agent", "cw_key": cw_key, "fields": ROW["fields"][:3]}
            assert (await schema(sandbox, "PUT", body=changed)).value == {"msg": "success"}
            found = (await schema(sandbox, "GET", f"?prodName=Custom%2FAgent&cw_key={cw_key}")).value
            assert [item["name"] for item in found["fields"]] == ["host", "mount", "cpu"]
            sandbox.settings.update = "merge"
            assert (
                await schema(sandbox, "PUT", body={**changed, "fields": ROW["fields"][:1] + ROW["fields"][4:]})
            ).value
            found = (await schema(sandbox, "GET", "?prodName=Custom/Agent")).value
            assert [item["name"] for item in found["fields"]] == ["mount", "cpu", "host", "bytes", "state"]
            gone = await schema(sandbox, "DELETE", f"?cw_key={cw_key}&prodName=Custom/Agent")
            assert (gone.status, gone.body) == (200, b"")
            assert (await schema(sandbox, "GET", "?prodName=Custom/Agent")).value is None
            said = await asyncio.to_thread(send, sandbox.port, {"cpu": 1, "host": "a"}, cw_key=cw_key)
            assert said.value["result"] == "fail"
            assert (await schema(sandbox, "DELETE", f"?cw_key={cw_key}&prodName=Custom/Agent")).status == 400
            assert (await schema(sandbox, "PUT", body=changed)).status == 400
            listed = (await schema(sandbox, "GET", "/system/list")).value
            assert all(set(item) == {"cw_key", "prodName"} for item in listed)

    asyncio.run(main())


def test_what_is_open_about_schemas_can_be_chosen() -> None:
    body = {key: ROW[key] for key in ("prodName", "fields")}

    async def main() -> None:
        async with Sandbox.open([ROW], keys=KEYS) as sandbox:
            second = (await schema(sandbox, "POST", body=body)).value["cw_key"]
            assert second != CW_KEY
            assert (await schema(sandbox, "GET", "?prodName=Custom/Agent")).value["cw_key"] == CW_KEY
            asked = f"?prodName=Custom/Agent&cw_key={second}"
            assert (await schema(sandbox, "GET", asked)).value["cw_key"] == second
            sandbox.settings.same_name = "error"
            assert (await schema(sandbox, "POST", body=body)).code == "100"
            sandbox.settings.shows_secret = False
            assert "secret" not in (await schema(sandbox, "GET", asked)).value
            seen = []
            for kind in ("null", "empty", "object", "error"):
                sandbox.settings.change({"missing_schema": kind})
                said = await schema(sandbox, "GET", "?prodName=Custom/None")
                seen.append((said.status, said.body[:8]))
            assert seen == [(200, b"null"), (200, b""), (200, b"{}"), (400, b'{"error"')]
            assert (await schema(sandbox, "GET")).code == "100"
            assert all(repr(item.secret) not in repr(item) for item in sandbox.schemas)

    asyncio.run(main())


HOST = {"name": "host", "dataType": "STRING", "dimension": True, "idDimension": True}
CPU = {"name": "cpu", "dataType": "FLOAT", "metric": True}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"prodName": ["Custom/X"], "fields": [HOST]}, "prodName must be a string"),
        ({"prodName": "System/X", "fields": [HOST]}, "Custom/"),
        ({"prodName": "Custom/X", "fields": []}, "fields must be"),
        ({"prodName": "Custom/X", "fields": [CPU]}, "idDimension"),
        (
            {"prodName": "Custom/X", "fields": [CPU, {**HOST, "idDimension": False, "isIdDimension": True}]},
            "idDimension",
        ),
        ({"prodName": "Custom/X", "fields": [HOST, HOST]}, "twice"),
        ({"prodName": "Custom/X", "fields": [HOST, {**HOST, "name": "mbrNo"}]}, "reserved"),
        ({"prodName": "Custom/X", "fields": [{**HOST, "dataType": "LONG"}]}, "dataType"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "dataType": "DOUBLE"}]}, "dataType"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "dimension": True}]}, "either"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "idDimension": True}]}, "only a dimension"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "metric": "true"}]}, "boolean"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "aggregations": {"Min2": ["AVG"]}}]}, "aggregations"),
        ({"prodName": "Custom/X", "fields": [HOST, {**CPU, "aggregations": {"Min1": ["LAST"]}}]}, "aggregations"),
        ({"prodName": "Custom/X", "fields": [HOST], "useCustomResource": "no"}, "useCustomResource"),
        (["Custom/X"], "object"),
    ],
    ids=lambda item: item if isinstance(item, str) else None,
)
def test_what_is_no_schema_is_refused(body: object, why: str) -> None:
    async def main() -> None:
        async with Sandbox.open(keys=KEYS) as sandbox:
            said = await schema(sandbox, "POST", body=body)
            assert (said.status, said.code) == (400, "100")
            assert why in said.details
            assert list(sandbox.schemas) == []

    asyncio.run(main())
