"""The query side of the Rackspace stand-in: what getEvents finds, when, and what it makes of a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from rackspace_far import TENANT, Reply, call, event, post

from agent.sandbox.rackspace import Sandbox
from agent.sandbox.rackspace.query import when


def with_sandbox(work: Callable[[Sandbox], None], **options: object) -> None:
    async def main() -> None:
        async with Sandbox.open(**{"visible_after": 0.0, **options}) as sandbox:  # type: ignore[arg-type]
            await asyncio.to_thread(work, sandbox)

    asyncio.run(main())


def find(sandbox: Sandbox, parameters: str, tenant: str = TENANT) -> Reply:
    return call(sandbox.query_url, "GET", f"/v2.0/{tenant}/events/getEvents{parameters}")


def names(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return sorted(row["what"] for row in reply.json)


def three(sandbox: Sandbox) -> int:
    now = int(time.time() * 1000)
    for name, at in (("a", now), ("b", now + 1), ("c", now + 2)):
        assert post(sandbox.url, event(name, at, tags=f"Tag {name}", data="d")).status == 200
    return now


def test_bounds_in_milliseconds_are_inclusive() -> None:
    def work(sandbox: Sandbox) -> None:
        now = three(sandbox)
        assert names(find(sandbox, f"?from={now}&until={now + 1}")) == ["a", "b"]
        assert names(find(sandbox, f"?from={now + 1}")) == ["b", "c"]
        assert names(find(sandbox, f"?until={now}&until={now + 2}")) == ["a"]  # the first of two counts
        [row] = find(sandbox, f"?from={now}&until={now}").json
        assert row == {"what": "a", "when": now, "data": "d", "tags": "Tag a", "tenantId": TENANT}

    with_sandbox(work)


def test_at_least_one_parameter_of_any_name() -> None:
    def work(sandbox: Sandbox) -> None:
        now = three(sandbox)
        for text in ("", "?"):
            reply = find(sandbox, text)
            assert (reply.status, reply.errors[0]["message"][:12]) == (400, "Error: Query")
        assert names(find(sandbox, f"?to={now}")) == ["a", "b", "c"]
        assert names(find(sandbox, "?x")) == ["a", "b", "c"]
        for text in ("?from=", "?until=", "?from=1&until="):
            assert find(sandbox, text).status == 500

    with_sandbox(work)


def test_what_is_no_row_of_digits_becomes_seconds() -> None:
    now = 1_700_000_030.0  # 2023-11-14 22:13:50
    assert when("1700000000000", now) == 1_700_000_000_000
    assert when("1700000000", now) == 1_700_000_000
    assert when("now", now) == when("-0s", now) == 1_699_999_980 + 0
    assert when("-1h", now) == 1_699_999_980 - 3600
    assert when("now+10min", now) == 1_699_999_980 + 600
    assert when("20231101", now) == 1_698_796_800
    assert when("nonsense", now) == 1_699_920_000
    for bad in ("", "99999999999999999999", "-h"):
        with pytest.raises(ValueError, match=r".+"):
            when(bad, now)

    def work(sandbox: Sandbox) -> None:
        three(sandbox)
        assert names(find(sandbox, "?from=-1h")) == ["a", "b", "c"]
        assert names(find(sandbox, "?from=now")) == ["a", "b", "c"]
        assert names(find(sandbox, "?until=now")) == []
        assert names(find(sandbox, "?until=20991231")) == []

    with_sandbox(work)


def test_a_document_is_found_after_a_while() -> None:
    def work(sandbox: Sandbox) -> None:
        stored = time.time()
        assert post(sandbox.url).status == 200
        assert names(find(sandbox, "?from=1")) == []
        while not names(find(sandbox, "?from=1")):
            assert time.time() < stored + 5
        assert time.time() - stored >= 0.5

    with_sandbox(work, visible_after=0.5)


def test_no_more_than_the_cap_and_in_no_order() -> None:
    def work(sandbox: Sandbox) -> None:
        sent = [f"n{number:02}" for number in range(30)]
        for name in sent:
            post(sandbox.url, event(name))
        found = [row["what"] for row in find(sandbox, "?from=1").json]
        assert len(set(found)) == 20
        assert set(found) < set(sent)
        assert found != sorted(found)

    with_sandbox(work, max_results=20)


def test_tags_match_as_the_index_has_them() -> None:
    def work(sandbox: Sandbox) -> None:
        three(sandbox)
        assert names(find(sandbox, f"?tags={quote('Tag a')}")) == ["a"]
        assert names(find(sandbox, "?tags=tag")) == names(find(sandbox, "?tags=Tag")) == []
        for broken in ('a"b', '"', "a\\", 'x"},"y":{"z":"'):
            assert find(sandbox, f"?tags={quote(broken)}").status == 500

    def analysed(sandbox: Sandbox) -> None:
        three(sandbox)
        assert names(find(sandbox, "?tags=tag")) == ["a", "b", "c"]
        assert names(find(sandbox, f"?tags={quote('Tag a')}")) == names(find(sandbox, "?tags=Tag")) == []

    with_sandbox(work)
    with_sandbox(analysed, index="analysed")


def test_a_crafted_event_is_found_under_the_other_tenant() -> None:
    def work(sandbox: Sandbox) -> None:
        assert post(sandbox.url, event("mine", data='x","tenantId":"other')).status == 200
        assert names(find(sandbox, "?from=1")) == []
        [row] = find(sandbox, "?from=1", tenant="other").json
        assert (row["what"], row["data"], row["tenantId"]) == ("mine", "x", "other")

    with_sandbox(work)


def test_what_the_query_side_does_not_serve() -> None:
    def work(sandbox: Sandbox) -> None:
        path = f"/v2.0/{TENANT}/events"
        assert call(sandbox.query_url, "POST", path, event()).status == 404
        refused = call(sandbox.query_url, "POST", f"{path}/getEvents", event())
        assert (refused.status, refused.headers["Allow"]) == (405, "GET,OPTIONS")
        assert call(sandbox.query_url, "PUT", f"{path}/getEvents", b"").status == 501
        assert call(sandbox.query_url, "GET", f"{path}/getEvents/?from=1").status == 404
        options = call(sandbox.query_url, "OPTIONS", f"{path}/getEvents")
        assert (options.status, options.headers["Access-Control-Allow-Methods"]) == (204, "GET")
        accept = call(sandbox.query_url, "GET", f"{path}/getEvents?from=1", None, {"Accept": "text/html"})
        assert accept.status == 415
        assert sandbox.events() == []

    with_sandbox(work)
