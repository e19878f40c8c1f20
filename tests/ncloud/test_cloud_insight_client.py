"""Cloud Insight's calls against the stand-in, and against answers that no page promises."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from far_side import Act, FarSide, answer, far_side, raw, run
from structlog.testing import capture_logs

from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable
from agent.ncloud import CLOUD_INSIGHT, GatewayOptions, Unreadable, open_gateway
from agent.ncloud.cloud_insight import PNG, CloudInsight, Dashboard, Widget
from agent.sandbox import faults
from agent.sandbox.ncloud import Key, Sandbox
from agent.sandbox.ncloud.troubles import gateway, result
from agent.schema import Secret

ACCESS, SECRET = "AK_CLIENT", "SK_CLIENT_4711"
NAME = "Custom/Plant"
FIELDS = [
    {"name": "device", "dataType": "STRING", "dimension": True, "idDimension": True},
    {"name": "heat", "dataType": "FLOAT", "metric": True, "aggregations": {"Min1": ["AVG", "SUM"]}},
]
MORE = [*FIELDS, {"name": "parts", "dataType": "LONG", "metric": True}]


@asynccontextmanager
async def client(url: str, heard: list[str] | None = None) -> AsyncIterator[CloudInsight]:
    options = GatewayOptions(access_key=Secret(ACCESS), secret_key=Secret(SECRET), url=url)
    async with open_gateway(options, CLOUD_INSIGHT, name="test") as opened:
        yield CloudInsight(opened, [].append if heard is None else heard.append, patience=2.0)


@asynccontextmanager
async def account(heard: list[str] | None = None, **settings: Any) -> AsyncIterator[tuple[Sandbox, CloudInsight]]:
    """An account that is empty, and a client of it."""
    opened = Sandbox.open(keys=[Key(ACCESS, SECRET)], visible_after=0.0, **settings)
    async with opened as sandbox, client(sandbox.url, heard) as insight:
        yield sandbox, insight


def asked(side: FarSide, n: int = -1) -> str:
    return side.requests[n].line.removesuffix(" HTTP/1.1")


def test_a_schema_is_made_read_changed_and_removed() -> None:
    async def main() -> None:
        async with account() as (sandbox, insight):
            assert await insight.schema(NAME) is None
            key = await insight.create_schema(NAME, FIELDS, True)
            found = await insight.schema(NAME)
            assert found is not None
            assert (found["cw_key"], found["prodName"], found["useCustomResource"]) == (key, NAME, True)
            assert [field["name"] for field in found["fields"]] == ["device", "heat"]
            await insight.update_schema(NAME, key, MORE)
            found = await insight.schema(NAME, key)
            assert found is not None
            assert [field["name"] for field in found["fields"]] == ["device", "heat", "parts"]
            assert await insight.schema(NAME, "1") is None
            await insight.delete_schema(NAME, key)
            assert list(sandbox.schemas) == []
            assert {row["prodName"] for row in await insight.system_schemas()} >= {"System/Server(VPC)"}

    run(main())


def test_rows_are_sent_and_read_back_as_points() -> None:
    async def main() -> None:
        for shape in ("array", "data"):
            async with account(query_shape=shape) as (sandbox, insight):
                key = await insight.create_schema(NAME, FIELDS)
                await insight.send(key, [{"device": "d1", "heat": 20.5}, {"device": "d1", "heat": 21.5}])
                assert [row.target for row in sandbox.stored(key)] == ["d1", "d1"]
                now = round(time.time() * 1000)
                asks = (key, "heat", {"device": "d1"}, now - 120_000, now + 60_000)
                ((at, value),) = await insight.query(*asks, aggregation="SUM", across="SUM", name=NAME)
                assert (value, at % 60_000) == (42.0, 0)
                assert await insight.query(*asks, aggregation="MAX") == []  # the schema does not keep it

    run(main())


@pytest.mark.parametrize("missing", ["null", "empty", "object", "error"])
def test_no_schema_of_a_name_is_none_however_the_service_says_it(missing: str) -> None:
    async def main() -> None:
        heard: list[str] = []
        async with account(heard, missing_schema=missing) as (_, insight):
            assert await insight.schema(NAME) is None
        assert bool(heard) == (missing == "error")  # which may mean something else, so it is told
        assert all("No such schema" in text and f"taken for: there is no schema {NAME}" in text for text in heard)

    run(main())


def test_the_secret_of_a_schema_goes_no_further() -> None:
    async def main() -> None:
        async with account(shows_secret=True) as (sandbox, insight):
            key = await insight.create_schema(NAME, FIELDS)
            (made,) = sandbox.schemas
            with capture_logs() as logs:
                found = await insight.schema(NAME)
            assert found is not None
            assert "secret" not in found
            assert made.secret
            assert made.secret not in f"{found}{insight!r}{logs}{key}{vars(insight)}"
        inner = {"cw_key": "1", "SECRET": "hush", "fields": [{"name": "a", "secret": {"x": "hush"}}]}
        for body in (inner, [inner], {**inner, "fields": "hush", "secret": "hush"}):
            async with far_side(answer(200, json.dumps(body))) as side, client(side.url) as insight:
                try:
                    shown = repr(await insight.schema(NAME))
                except Unreadable as failure:
                    shown = f"{failure}{failure!r}{failure.answer}{failure.reason}"
                assert "hush" not in shown

    run(main())


def test_what_may_be_lost_on_the_way_is_not_done_twice() -> None:
    async def main() -> None:
        async with account() as (sandbox, insight):
            for fault in (gateway("510", stored=True), faults.reset("stored")):
                sandbox.faults.add(fault.only(count=1))
                with pytest.raises(Retryable) as failure:
                    await insight.create_schema(f"{NAME}{len(list(sandbox.schemas))}", FIELDS)
                assert failure.value.ambiguous
            assert [schema.product for schema in sandbox.schemas] == [f"{NAME}0", f"{NAME}1"]
            key = next(iter(sandbox.schemas)).cw_key
            sandbox.faults.add(gateway("510", stored=True, count=1))
            with pytest.raises(Retryable):
                await insight.send(key, [{"device": "d", "heat": 1}])
            assert len(sandbox.stored(key)) == 1
            # To replace all fields by the same ones again changes nothing.
            sandbox.faults.add(gateway("510", stored=True, count=1))
            await insight.update_schema(f"{NAME}0", key, MORE)

    run(main())


def test_a_result_that_is_no_success_is_none() -> None:
    async def main() -> None:
        async with account() as (sandbox, insight):
            with pytest.raises(Retryable, match=r'cw_key 17: answered 200, the result is "fail" \(.*x-ncp-trace-id'):
                await insight.send("17", [{"device": "d"}])
            key = await insight.create_schema(NAME, FIELDS)
            sandbox.faults.add(result("partial", "half of it", count=1))
            with pytest.raises(Retryable, match=r'"partial".*half of it'):
                await insight.send(key, [{"device": "d", "heat": 1}])

    run(main())


def test_a_key_without_the_right_is_told_so_with_the_trace() -> None:
    async def main() -> None:
        key = Key(ACCESS, SECRET, frozenset({"send"}))
        async with Sandbox.open(keys=[key]) as sandbox, client(sandbox.url) as insight:
            with pytest.raises(AuthExpired, match=r"no right to this API.*401 210.*x-ncp-trace-id [0-9a-f]{32}"):
                await insight.schema(NAME)

    run(main())


PICTURE = PNG + b"\x00\xff\x0asomething that is no text" * 9000  # more than any other answer has
DASHBOARDS = "/cw_fea/real/cw/api/chart/dashboard"


def test_dashboards_widgets_and_pictures_are_asked_for_by_their_paths() -> None:
    async def main() -> None:
        script = [
            answer(200, json.dumps([{"id": "17", "name": "서버"}, {"id": 4, "name": None}])),
            answer(200, json.dumps([{"dashboardId": "17", "name": "CPU", "widgetId": "bucket_size__a1"}])),
            answer(200, PICTURE, {"Content-Type": "application/octet-stream"}),
        ]
        async with far_side(*script) as side, client(side.url) as insight:
            assert await insight.dashboards() == [Dashboard("17", "서버"), Dashboard("4", "")]
            assert asked(side) == f"GET {DASHBOARDS}"
            assert await insight.widgets("a/b") == [Widget("17", "bucket_size__a1", "CPU")]
            assert asked(side) == f"GET {DASHBOARDS}/a%2Fb/widgets"
            assert await insight.image("17", "bucket_size__a1", 1733097600000, 1733148000000, "high") == PICTURE
            assert asked(side) == (
                f"GET {DASHBOARDS}/17/widgets/bucket_size__a1"
                "?startTime=1733097600000&endTime=1733148000000&widgetResolutionMode=HIGH"
            )
            assert "application/json" in side.requests[-1].headers["accept"]

    run(main())


@pytest.mark.parametrize(
    "body", [b"", b"<html>log in</html>", PNG[:7], b'{"error":{"errorCode":"100"}}', b"\xff\xd8\xff\xe0JFIF"]
)
def test_what_is_no_png_is_no_picture_whatever_it_calls_itself(body: bytes) -> None:
    async def main() -> None:
        async with far_side(answer(200, body, {"Content-Type": "image/png"})) as side, client(side.url) as insight:
            with pytest.raises(Unreadable, match=rf"expected a PNG, found {len(body)} bytes \(image/png\)"):
                await insight.image("1", "2", 0, 1)

    run(main())


Ask = Callable[[CloudInsight], Coroutine[Any, Any, Any]]
ODD: list[tuple[Ask, object, str]] = [
    (lambda i: i.schema(NAME), [1], "a schema with its fields"),
    (lambda i: i.schema(NAME), {"fields": [{"name": "a"}]}, "a schema with its cw_key"),
    (lambda i: i.schema(NAME), {"cw_key": "x1", "fields": []}, 'a cw_key of digits, found "x1"'),
    (lambda i: i.create_schema(NAME, FIELDS), None, "the cw_key of Custom/Plant"),
    (lambda i: i.create_schema(NAME, FIELDS), {"msg": "ok"}, "the cw_key of Custom/Plant"),
    (lambda i: i.create_schema(NAME, FIELDS), True, "a cw_key of digits, found true"),
    (lambda i: i.dashboards(), {"list": []}, r'a list of dashboards, found \{"list":\[\]\}'),
    (lambda i: i.dashboards(), [{"name": "a"}], r'an object with id, found \{"name":"a"\}'),
    (lambda i: i.widgets("1"), ["a"], "a list of widgets"),
    (lambda i: i.widgets("1"), [{"name": "a"}], "an object with widgetId"),
    (lambda i: i.system_schemas(), "no", "the list of NAVER's own schemas"),
    (lambda i: i.query("1", "m", {}, 0, 1), "no", "points of"),
]


@pytest.mark.parametrize(("ask", "body", "expected"), ODD)
def test_an_answer_that_is_not_what_was_asked_for_names_what_came(ask: Ask, body: object, expected: str) -> None:
    async def main() -> None:
        async with far_side(answer(200, orjson.dumps(body))) as side, client(side.url) as insight:
            with pytest.raises(Unreadable, match=expected):
                await ask(insight)

    run(main())


@pytest.mark.parametrize(
    ("body", "key"),
    [('"460438474722512896"', "460438474722512896"), ('{"cw_key":460438474722512897}', "460438474722512897")],
)
def test_a_key_keeps_all_its_digits_however_it_is_written(body: str, key: str) -> None:
    async def main() -> None:
        async with far_side(answer(200, body)) as side, client(side.url) as insight:
            assert await insight.create_schema(NAME, FIELDS) == key
            assert "useCustomResource" not in json.loads(side.requests[0].body)

    run(main())


@pytest.mark.parametrize("act", [raw(b"HTTP/1.1 204 No Content\r\n\r\n"), answer(200, "true"), answer(200, "done")])
def test_a_change_is_done_where_its_status_says_so(act: Act) -> None:
    async def main() -> None:
        async with far_side(act) as side, client(side.url) as insight:
            await insight.delete_schema("Custom/My Plant", "17")
            assert asked(side) == "DELETE /cw_fea/real/cw/api/schema?prodName=Custom/My%20Plant&cw_key=17"

    run(main())


def test_an_answer_of_a_thousand_levels_is_refused_and_breaks_nothing() -> None:
    async def main() -> None:
        deep = '{"fields":' + "[" * 900 + "]" * 900 + "}"
        async with far_side(answer(200, deep)) as side, client(side.url) as insight:
            with pytest.raises(Unreadable, match="at most 16 levels"):
                await insight.schema(NAME)

    run(main())


@pytest.mark.parametrize("id", ["", "..", "."])
def test_an_id_that_leads_elsewhere_is_not_asked_for(id: str) -> None:
    async def main() -> None:
        async with far_side(answer(200, "[]")) as side, client(side.url) as insight:
            with pytest.raises(Rejected, match="expected an id"):
                await insight.widgets(id)
            with pytest.raises(DeliveryError):
                await insight.image("1", id, 0, 1)
            assert side.requests == []

    run(main())
