"""Dashboards of the gateway's stand-in: lists as arrays, and images that are pictures of what was stored."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any
from urllib.parse import quote

import pytest
from ncloud_client import CW_KEY, KEY, ROW, SECRET, Said, call, send
from PIL import Image

from agent.sandbox.ncloud import Key, Sandbox
from agent.sandbox.ncloud.pictures import SIGNATURE, chart

DASHBOARD = "/cw_fea/real/cw/api/chart/dashboard"
MINUTE = 60_000
LINE = (0x1F, 0x6F, 0xD0)


def opened(**options: Any) -> Any:
    return Sandbox.open([ROW], keys=[Key(KEY, SECRET)], **{"visible_after": 0, **options})


async def get(sandbox: Sandbox, path: str = "", **how: Any) -> Said:
    return await asyncio.to_thread(call, sandbox.port, "GET", DASHBOARD + path, **how)


async def widgets(sandbox: Sandbox) -> dict[str, str]:
    """The path of each widget by its name."""
    (board,) = (await get(sandbox)).value
    listed = (await get(sandbox, f"/{board['id']}/widgets")).value
    assert all(item["dashboardId"] == board["id"] for item in listed)
    return {item["name"]: f"/{board['id']}/widgets/{item['widgetId']}" for item in listed}


def span(sandbox: Sandbox, minutes: int = 60) -> str:
    now = sandbox.state.now_ms()
    return f"?startTime={now - minutes * MINUTE}&endTime={now + MINUTE}"


def drawn(said: Said) -> int:
    """How many pixels of the line a decoder other than ours finds."""
    assert (said.status, said.headers["Content-Type"]) == (200, "image/png")
    with Image.open(io.BytesIO(said.body)) as picture:
        assert (picture.format, picture.size) == ("PNG", (800, 600))
        return next((count for count, colour in picture.convert("RGB").getcolors() or [] if colour == LINE), 0)


def test_a_fresh_account_has_a_dashboard_of_its_schemas_metrics() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            said = await get(sandbox)
            assert said.value == [{"id": said.value[0]["id"], "name": "Sandbox"}]
            found = await widgets(sandbox)
            assert list(found) == ["cpu (Custom/Agent)", "count (Custom/Agent)", "bytes (Custom/Agent)"]
            assert found["cpu (Custom/Agent)"].rpartition("/")[2].startswith("cpu__")
            assert len(set(found.values())) == 3
            sandbox.schemas.drop(CW_KEY)
            assert await widgets(sandbox) == {}

    asyncio.run(main())


def test_an_image_is_a_picture_of_the_stored_values() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            path = (await widgets(sandbox))["cpu (Custom/Agent)"]
            empty = await get(sandbox, path + span(sandbox))
            assert drawn(empty) == 0
            await asyncio.to_thread(send, sandbox.port, {"cpu": 1, "host": "a"})
            dot = await get(sandbox, path + span(sandbox))
            assert 0 < drawn(dot) < 20
            sandbox.settings.clock_offset = 120
            await asyncio.to_thread(send, sandbox.port, {"cpu": 9, "host": "a"}, ahead=120)
            line = await get(sandbox, path + span(sandbox), ahead=120)
            assert drawn(line) > 500
            (first, _), (last, _) = sandbox.points(CW_KEY, "cpu")
            for start, end in ((first - 300 * MINUTE, first - 1), (last + 1, last + 300 * MINUTE)):
                assert drawn(await get(sandbox, f"{path}?startTime={start}&endTime={end}", ahead=120)) == 0
            # A day is drawn by the five minutes unless the finer ones are asked for.
            day = span(sandbox, 1440)
            coarse, fine = [
                await get(sandbox, path + day + mode, ahead=120)
                for mode in ("&widgetResolutionMode=AUTO", "&widgetResolutionMode=HIGH")
            ]
            assert coarse.body != fine.body
            assert (await get(sandbox, path + day, ahead=120)).body == coarse.body

    asyncio.run(main())


def test_it_shows_averages_where_the_schema_has_them() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            path = (await widgets(sandbox))["count (Custom/Agent)"]
            await asyncio.to_thread(send, sandbox.port, {"count": 7, "host": "a"})
            ((at, _),) = sandbox.points(CW_KEY, "count")
            said = await get(sandbox, f"{path}?startTime={at - MINUTE}&endTime={at + MINUTE}")
            assert said.body == chart([(at, 7.0)], at - MINUTE, at + MINUTE)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "startTime must be milliseconds."),
        ("?startTime=1", "endTime must be milliseconds."),
        ("?startTime=1.5&endTime=2", "startTime must be milliseconds."),
        ("?startTime=-1&endTime=2", "startTime must be milliseconds."),
        ("?startTime=1&endTime=999999999999999", "endTime must be milliseconds."),
        ("?startTime=2&endTime=2", "startTime must be before endTime."),
        ("?startTime=1&endTime=2&widgetResolutionMode=high", "widgetResolutionMode must be AUTO or HIGH."),
    ],
)
def test_a_span_that_is_none_is_refused_as_json(query: str, told: str) -> None:
    async def main() -> None:
        async with opened() as sandbox:
            path = (await widgets(sandbox))["cpu (Custom/Agent)"]
            said = await get(sandbox, path + query)
            assert (said.status, said.code, said.details) == (400, "100", told)

    asyncio.run(main())


def test_what_is_not_there_and_who_may_not_are_told_apart() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            path = (await widgets(sandbox))["cpu (Custom/Agent)"]
            board = path.split("/")[1]
            for missing, told in [
                ("/nothing/widgets", "No such dashboard."),
                (f"/nothing/widgets/{path.rpartition('/')[2]}", "No such dashboard."),
                (f"/{board}/widgets/nothing", "No such widget."),
            ]:
                said = await get(sandbox, missing + span(sandbox))
                assert (said.status, said.code, said.details) == (400, "100", told)
            assert (await get(sandbox, f"/{board}")).code == "300"  # no such call
            sandbox.keys.add(Key(KEY, SECRET, frozenset({"send", "query", "schema"})))
            for call_of in ("", f"/{board}/widgets", path + span(sandbox)):
                assert (await get(sandbox, call_of)).code == "210"

    asyncio.run(main())


def test_the_settings_say_which_dashboards_there_are() -> None:
    async def main() -> None:
        name = "디스크/../사용량"
        chosen = {"widgetId": "bucket_size__1 2", "name": name, "cw_key": CW_KEY, "metric": "count"}
        widget = {"id": chosen["widgetId"], **{key: chosen[key] for key in ("name", "cw_key", "metric")}}
        boards = [{"id": "b/1", "name": "Mine", "widgets": [widget]}, {"id": "2", "name": "Mine", "widgets": []}]
        async with opened(dashboards=boards) as sandbox:
            assert (await get(sandbox)).value == [{"id": "b/1", "name": "Mine"}, {"id": "2", "name": "Mine"}]
            path = f"/{quote('b/1', safe='')}/widgets"
            listed = (await get(sandbox, path)).value
            assert listed == [{"dashboardId": "b/1", "name": name, "widgetId": "bucket_size__1 2"}]
            assert (await get(sandbox, "/2/widgets")).value == []
            assert drawn(await get(sandbox, f"{path}/bucket_size__1%202{span(sandbox)}")) == 0

    asyncio.run(main())


def test_what_comes_in_place_of_a_picture_can_be_chosen() -> None:
    async def main() -> None:
        async with opened() as sandbox:
            paths = await widgets(sandbox)
            target = paths["cpu (Custom/Agent)"] + span(sandbox)
            whole = (await get(sandbox, target)).body

            async def answered(kind: str) -> Said:
                sandbox.settings.change({"image": kind})
                return await get(sandbox, target)

            said = await answered("error")
            assert (said.status, json.loads(said.body)["error"]["errorCode"]) == (200, "900")
            assert (await answered("html")).body.startswith(b"<!DOCTYPE html>")
            assert (await answered("empty")).body == b""
            torn = (await answered("torn")).body
            assert torn.startswith(SIGNATURE)
            assert whole.startswith(torn[:1000])
            assert b"IEND" not in torn
            large = await answered("large")
            assert len(large.body) > 256 * 1024
            assert drawn(large) == 0
            # For one widget alone.
            sandbox.settings.change(
                {"image": "png", "image_of": {target.rpartition("/")[2].partition("?")[0]: "empty"}}
            )
            assert (await get(sandbox, target)).body == b""
            assert drawn(await get(sandbox, paths["count (Custom/Agent)"] + span(sandbox))) == 0

    asyncio.run(main())
