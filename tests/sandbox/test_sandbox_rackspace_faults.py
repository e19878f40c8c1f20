"""What the Rackspace stand-in does wrong on demand, and in whose words."""

from __future__ import annotations

import asyncio
import http.client

import pytest
from rackspace_far import TENANT, Reply, post

from agent.sandbox import faults
from agent.sandbox.faults import Fault
from agent.sandbox.rackspace import Sandbox, failing


def under(fault: Fault, timeout: float = 10.0, **options: object) -> tuple[Reply, Sandbox]:
    """One event while that fault is in force."""

    async def main() -> tuple[Reply, Sandbox]:
        async with Sandbox.open(**options) as sandbox:  # type: ignore[arg-type]
            armed = sandbox.faults.add(fault)
            reply = await asyncio.to_thread(post, sandbox.url, timeout=timeout)
            assert armed.hits == 1
            return reply, sandbox

    return asyncio.run(main())


def test_a_broken_store_keeps_ten_copies_and_says_500() -> None:
    reply, sandbox = under(failing.broken_store())
    assert reply.status == 500
    assert reply.errors[0]["message"] == "Error: Unable to reach Elasticsearch"
    assert [item.status for item in sandbox.events(TENANT)] == [500] * 10


@pytest.mark.parametrize(
    ("build", "fault", "said"),
    [
        ("2022-09", failing.no_elasticsearch(), "Error: Unable to reach Elasticsearch"),
        (
            "2022-09",
            failing.overloaded(),
            'Error: Elasticsearch request failed: {"error":{"root_cause":[{"type":"es_rej',
        ),
        (
            "2022-09",
            failing.unparsable(),
            'Error: Elasticsearch request failed: {"error":{"root_cause":[{"type":"mapper',
        ),
        ("2018-04", failing.no_elasticsearch(), "Error: Elasticsearch indexing failed with status code: [0]"),
        ("2018-04", failing.overloaded(), "Error: Elasticsearch indexing failed with status code: [429]"),
        ("2018-04", failing.unparsable(), "Error: Elasticsearch indexing failed with status code: [400]"),
        ("2018-01", failing.overloaded(), None),
    ],
)
def test_each_build_has_its_words_for_what_elasticsearch_did(build: str, fault: Fault, said: str | None) -> None:
    reply, sandbox = under(fault, build=build)
    assert sandbox.events() == []
    [lost] = sandbox.ledger.lost
    assert (lost.tenant, lost.what, lost.status) == (TENANT, "x", reply.status)
    if said is None:
        assert (reply.status, reply.body) == (200, b"")  # lost all the same
    else:
        assert reply.status == 500
        assert reply.errors[0]["message"].startswith(said)


def test_a_fault_says_what_its_sort_says() -> None:
    reply, sandbox = under(failing.unauthorized())
    assert (reply.status, reply.json["unauthorized"]["code"]) == (401, 401)
    reply, _ = under(failing.forbidden())
    assert (reply.status, reply.json["forbidden"]["code"]) == (403, 403)
    reply, _ = under(failing.over_limit(7))
    assert (reply.status, reply.headers["Retry-After"], reply.json["overLimit"]["code"]) == (413, "7", 413)
    reply, _ = under(failing.over_limit("Fri, 31 Dec 1999 23:59:59 GMT", 429))
    assert (reply.status, reply.headers["Retry-After"]) == (429, "Fri, 31 Dec 1999 23:59:59 GMT")
    reply, _ = under(failing.over_limit(None))
    assert "Retry-After" not in reply.headers
    assert reply.json["overLimit"]["retryAfter"].endswith("Z")
    reply, _ = under(failing.too_large())
    assert (reply.status, "Retry-After" in reply.headers, b"overLimit" in reply.body) == (413, False, False)
    reply, _ = under(faults.unavailable(3))
    assert (reply.status, reply.headers["Retry-After"], reply.body[:6]) == (503, "3", b"<html>")
    reply, sandbox = under(failing.refuse())
    assert (reply.status, reply.errors[0]["message"]) == (400, "Invalid Data: Unrecognized field")
    assert sandbox.events() == []


@pytest.mark.parametrize(
    ("fault", "ends_with", "stored"),
    [
        (faults.reset(), ConnectionError, 0),
        (faults.reset("read"), ConnectionError, 0),
        (faults.reset("stored"), ConnectionError, 1),
        (faults.half_answer(), http.client.HTTPException, 1),
        (faults.half_answer("send"), http.client.HTTPException, 0),
    ],
)
def test_faults_that_end_without_an_answer_leave_what_they_say(
    fault: Fault, ends_with: type[Exception], stored: int
) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox:
            armed = sandbox.faults.add(fault)
            with pytest.raises(ends_with):
                await asyncio.to_thread(post, sandbox.url)
            assert (armed.hits, len(sandbox.events())) == (1, stored)
            assert [item.status for item in sandbox.requests] == [None]
            sandbox.faults.clear()
            assert (await asyncio.to_thread(post, sandbox.url)).status == 200

    asyncio.run(main())


def test_a_hang_is_no_answer_and_slowness_is_a_late_one() -> None:
    for stage, stored in (("send", 0), ("stored", 1)):
        reply, sandbox = under(faults.hang(stage), timeout=0.3)  # type: ignore[arg-type]
        assert (reply.status, len(sandbox.events())) == (None, stored)
    reply, sandbox = under(faults.slow(0.2))
    assert (reply.status, len(sandbox.events())) == (200, 1)
    assert sandbox.requests[0].seconds >= 0.2
