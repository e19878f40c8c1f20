"""Events through delivery to the stand-in of Rackspace: what is lost, what is kept, and at which pace."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from rig import Rig, capture_logs, rig
from virtual import run, until

from agent.sandbox.rackspace import Sandbox, failing
from agent.schema import Secret
from agent.sinks.rackspace import Rackspace
from agent.spool import Part

KEY = "key-of-the-sandbox"
DAY = 86_400.0


def event(what: str, age: float = 0.0) -> bytes:
    ts = int((time.time() - age) * 1000)
    fields = orjson.dumps({"what": what, "state": "firing"})
    return b'{"ts":%d,"source":"event.x","tags":{"host":"h"},"fields":%b}' % (ts, fields)


async def put(spooled: Rig, records: list[bytes]) -> None:
    await spooled.spool.append([Part("all", "events", records, int(time.time() * 1000))])


def own(sandbox: Sandbox, **options: Any) -> Rackspace:
    return Rackspace(tenant="123456", url=sandbox.url, query_url=sandbox.query_url, **options)


def hosted(sandbox: Sandbox, key: Secret, **options: Any) -> Rackspace:
    user = {"username": "agent", "api_key": key, "identity_url": sandbox.identity_url}
    return Rackspace(tenant="123456", **user, **options)  # type: ignore[arg-type]


def texts(sandbox: Sandbox) -> Counter[str | None]:
    return Counter(each.what for each in sandbox.events("123456"))


def test_what_is_older_than_three_days_is_a_dead_letter_and_never_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            delivery = spooled.delivery(own(sandbox))
            await put(
                spooled, [event("old", 3.5 * DAY), event("young", 2.5 * DAY), event("older", 6 * DAY), event("now")]
            )
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0)
                await until(lambda: len(spooled.letters()) == 2)
            assert texts(sandbox) == {"young": 1, "now": 1}
            assert len(sandbox.requests) == 2
            assert ["days old" in each["reason"] for each in spooled.letters()] == [True, True]
            assert delivery.queued() == 0

    with capture_logs():
        run(main())


def test_what_is_too_old_does_not_wait_for_its_turn(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            delivery = spooled.delivery(own(sandbox, rate=1))
            await put(spooled, [event(f"old {n}", 4 * DAY) for n in range(20)])
            clock = asyncio.get_running_loop().time
            began = clock()
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0)
            assert clock() - began < 60
            assert sandbox.requests == []

    with capture_logs():
        run(main())


def test_a_crafted_event_is_a_dead_letter_and_the_others_arrive(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            delivery = spooled.delivery(own(sandbox, escape="none"))
            await put(spooled, [event("one"), event('x","tenantId":"other'), event("two")])
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0)
                await until(lambda: len(spooled.letters()) == 1)
            assert sandbox.tenants() == {"123456": 2}

    with capture_logs():
        run(main())


def test_the_rate_is_held_over_a_backlog(tmp_path: Path) -> None:
    """Hours of events wait: they go at the operator's pace, all of them, retries included."""

    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            sandbox.faults.add(failing.no_elasticsearch(count=5))
            delivery = spooled.delivery(own(sandbox, rate=30))
            await put(spooled, [event(f"e{n}") for n in range(100)])
            clock = asyncio.get_running_loop().time
            began = clock()
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0, within=7200.0, step=0.5)
            sent = len(sandbox.requests)
            assert sent >= 105
            assert clock() - began >= (sent - 3) * 2.0 - 1
            assert texts(sandbox) == {f"e{n}": 1 for n in range(100)}

    with capture_logs():
        run(main())


def test_half_an_hour_of_401_costs_a_handful_of_requests_and_no_event(tmp_path: Path) -> None:
    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox, rig(tmp_path) as spooled:
            delivery = spooled.delivery(hosted(sandbox, Secret(KEY), rate=600))
            async with spooled.running(delivery):
                await put(spooled, [event("first")])
                await until(lambda: texts(sandbox) == {"first": 1})
                sandbox.faults.add(failing.unauthorized())
                before = len(sandbox.ledger.requests)
                await put(spooled, [event(f"e{n}") for n in range(20)])
                await asyncio.sleep(1800)  # of the virtual clock
                storm = len(sandbox.ledger.requests) - before
                sandbox.faults.clear()
                await until(lambda: delivery.queued() == 0, within=7200.0, step=0.5)
            assert 2 <= storm <= 30
            assert texts(sandbox) == {"first": 1, **{f"e{n}": 1 for n in range(20)}}
            assert spooled.letters() == []

    with capture_logs():
        run(main())


def test_a_key_rotated_in_its_file_under_load_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)

    async def main() -> None:
        async with Sandbox.open(hosted=True) as sandbox, rig(tmp_path / "spool") as spooled:
            delivery = spooled.delivery(hosted(sandbox, Secret(path=str(file)), rate=900))
            async with spooled.running(delivery):
                await put(spooled, [event(f"e{n}") for n in range(60)])
                await until(lambda: len(sandbox.events()) > 10)
                sandbox.tokens.rotate("agent", "another-key")
                await until(lambda: any(request.status == 401 for request in sandbox.ledger.requests))
                file.write_text("another-key")
                await until(lambda: delivery.queued() == 0, within=7200.0, step=0.5)
            assert texts(sandbox) == {f"e{n}": 1 for n in range(60)}
            assert spooled.letters() == []

    with capture_logs() as logs:
        run(main())
    assert sum(each["event"].startswith("credentials read again") for each in logs) == 1
    assert "another-key" not in repr(logs)


def test_a_poisonous_event_costs_itself(tmp_path: Path) -> None:
    """What Elasticsearch refuses for its content comes as a 500 each time."""

    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            sandbox.faults.add(failing.unparsable(contains="poison"))
            delivery = spooled.delivery(own(sandbox, rate=600))
            await put(spooled, [event("one"), event("poison"), event("two"), event("three")])
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0, within=7200.0, step=0.5)
                await until(lambda: len(spooled.letters()) == 1)
            assert texts(sandbox) == {"one": 1, "two": 1, "three": 1}
            assert "mapper_parsing" in spooled.letters()[0]["reason"]

    with capture_logs():
        run(main())


@pytest.mark.parametrize("status", [413, 429])
def test_a_limit_that_is_used_up_is_waited_out(tmp_path: Path, status: Any) -> None:
    async def main() -> None:
        async with Sandbox.open() as sandbox, rig(tmp_path) as spooled:
            sandbox.faults.add(failing.over_limit(30, status, count=2))
            delivery = spooled.delivery(own(sandbox, rate=600))
            clock = asyncio.get_running_loop().time
            began = clock()
            await put(spooled, [event(f"e{n}") for n in range(5)])
            async with spooled.running(delivery):
                await until(lambda: delivery.queued() == 0, within=7200.0, step=0.5)
            assert clock() - began >= 60
            assert texts(sandbox) == {f"e{n}": 1 for n in range(5)}
            assert len(sandbox.requests) == 7

    with capture_logs():
        run(main())
