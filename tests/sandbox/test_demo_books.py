"""The arithmetic of the demo: what is missing at which cloud, what it is called, and when the verdict is a good one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from far import put

from agent.cli.demo_agent import Status, gaps
from agent.cli.demo_books import Account, Found, Sent, account, compare, verdict
from agent.cli.demo_clouds import Clouds
from agent.cli.demo_stored import DATASET, DEVICES_KEY, HOST_KEY, TENANT, Insight, Obsrv, Rackspace
from agent.sandbox.ncloud.rows import Row
from agent.sandbox.rackspace.elasticsearch import Document
from agent.spool import Report
from agent.spool.books import Finding

DELIVERED = {"delivered": 100, "expired": 0, "evicted": 0, "dead": 0, "damaged": 0, "abandoned": 0, "queued": 0}
TWO_GAPS = """
from agent.service import setup_logging
from agent.delivery.gaps import Gaps
setup_logging("info", "text")
for sink in ("insight", "obsrv"):
    gap = Gaps(sink, 300.0, lambda _: None)
    gap.add(7, 1_772_366_400_000, 1_772_366_460_000, 1.0)
    gap.say(2.0)
"""
ALARM, OTHER = "1b4e28ba-2fa1-4d2b-883f-0016d3cca427", "6fa459ea-ee8a-4ca4-894e-db77e160355e"


def closed(missing: int = 0, *, wrong: str = "", by_age: bool = False, **ledger: int) -> Account:
    found = Found(missing=missing, twice=0, said="98 of 98", wrong=wrong)
    return account("insight" if by_age else "obsrv", found, DELIVERED | ledger, by_age=by_age)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({"a": 3, "b": 5}, (0, 0)),
        ({"a": 3}, (5, 0)),
        ({"a": 4, "b": 4}, (1, 1)),  # what a has twice makes up for nothing that b lacks
        ({"a": 3, "b": 5, "c": 1}, (0, 1)),
        ({}, (8, 0)),
    ],
)
def test_missing_and_surplus_are_reckoned_device_by_device(counted: dict[str, int], expected: tuple[int, int]) -> None:
    assert compare({"a": 3, "b": 5}, counted) == expected


@pytest.mark.parametrize(
    ("closing", "words"),
    [
        (closed(), "lost 0  expired 0  evicted 0  dead-lettered 0"),
        (closed(1), "lost 1  expired 0"),
        (closed(expired=1), "lost 0  expired 1"),
        (closed(evicted=2), "evicted 2"),
        (closed(dead=3), "dead-lettered 3"),
        (closed(damaged=4), "damaged 4"),
        (closed(abandoned=5), "abandoned 5"),
        (closed(wrong="2 rows were thrown away"), "2 rows were thrown away"),
        (closed(1, queued=7), "7 records for it still wait in the spool"),
        (closed(20, by_age=True, expired=25), "lost 0  expired 25"),
        (closed(20, by_age=True, expired=15), "lost 5  expired 15"),
        (closed(20, expired=15), "lost 20  expired 15"),
    ],
)
def test_the_verdict_is_good_only_where_nothing_at_all_is_missing(closing: Account, words: str) -> None:
    lines, status = verdict([closing, closed()], [], Report(Path()))
    assert status == (0 if closing == closed() else 1)
    assert words in "\n".join(lines)
    assert lines[-1].startswith(f"lost {closing.lost}  expired {closing.fates['expired']}")


def test_books_that_do_not_balance_spoil_the_verdict_and_are_named() -> None:
    report = Report(Path(), findings=[Finding("obsrv", "main", "3 records are nowhere")])
    lines, status = verdict([closed()], ['sink=insight records=7 reason="older than 5m"'], report)
    assert status == 1
    assert any("main: obsrv: 3 records are nowhere" in line for line in lines)
    assert any(line.startswith("gap ") and "records=7" in line for line in lines)


def test_at_obsrv_it_is_ids_that_count() -> None:
    async def main(clouds: Clouds) -> Obsrv:
        port, records = clouds.obsrv.sandbox.port, [{"fields": {"uid": "a"}}, {"fields": {"uid": "b"}}, {"fields": {}}]
        assert await put(port, "m1", records, DATASET) == 200
        clouds.look()
        assert await put(port, "m2", [{"fields": {"uid": "a"}}], DATASET) == 200
        clouds.look()
        return clouds.obsrv

    obsrv = asyncio.run(in_clouds(main))
    assert (obsrv.ids, obsrv.twice, obsrv.others) == ({"a", "b"}, 1, 1)
    assert obsrv.found(Sent(readings={"a"}, alarms={"b": "text"})).missing == 0
    assert obsrv.found(Sent(readings={"a", "c"}, alarms={"d": "text"})).missing == 2


def test_one_name_for_two_batches_is_wrong_though_nothing_is_missing() -> None:
    async def main(clouds: Clouds) -> Found:
        for uid in ("a", "b"):
            await put(clouds.obsrv.sandbox.port, "m1", [{"fields": {"uid": uid}}], DATASET)
        clouds.look()
        return clouds.obsrv.found(Sent(readings={"a"}))

    assert "1 batches had a name" in asyncio.run(in_clouds(main)).wrong


def test_at_cloud_insight_it_is_the_sum_of_a_metric_over_rows_that_have_a_target() -> None:
    async def main(clouds: Clouds) -> Insight:
        rows = [row("a", 3), row("b", 4), row("a", 2), row("b", 9, target=None)]
        clouds.insight.sandbox.ledger.store(DEVICES_KEY, rows[:2])
        clouds.look()
        clouds.insight.sandbox.ledger.store(DEVICES_KEY, rows[2:])
        clouds.insight.sandbox.ledger.store(HOST_KEY, [row("a", 100)])
        clouds.look()
        return clouds.insight

    insight = asyncio.run(in_clouds(main))
    assert insight.messages == {"a": 5, "b": 4}
    assert insight.found(Sent(by_device={"a": 5, "b": 6})).missing == 2
    assert insight.found(Sent(by_device={"a": 4, "b": 4})).twice == 1
    assert insight.stored == "4 rows"


def test_at_rackspace_an_alarm_counts_by_its_id_and_only_with_its_text_and_an_event_once() -> None:
    async def main(clouds: Clouds) -> Rackspace:
        ledger = clouds.rackspace.sandbox.ledger
        for what, data in (
            ('door "east" is open', f"id=0123456789abcdef-0, device=d, uid={ALARM}"),
            ("door 'east' is open", f"id=0123456789abcdef-1, device=d, uid={OTHER}"),
            ("hot", "id=0123456789abcdef-2, device=d, rule=hot"),
            ("hot", "id=0123456789abcdef-2, device=d, rule=hot"),  # the answer was lost
            ("started", "id=0123456789abcdef-3, host=demo"),
        ):
            ledger.store(document(TENANT, what, data), TENANT, 200)
        clouds.look()
        return clouds.rackspace

    rackspace = asyncio.run(in_clouds(main))
    assert (len(rackspace.events), rackspace.twice, rackspace.others) == (1, 1, 1)
    text = 'door "east" is open'
    assert rackspace.found(Sent(alarms={ALARM: text}, events=1)).missing == 0
    assert rackspace.found(Sent(alarms={ALARM: text, OTHER: text}, events=1)).missing == 1, "altered on its way"
    assert rackspace.found(Sent(alarms={ALARM: text}, events=3)).missing == 2


def test_what_another_tenant_got_has_not_arrived() -> None:
    async def main(clouds: Clouds) -> Found:
        clouds.rackspace.sandbox.ledger.store(document("666", "text", f"uid={ALARM}"), TENANT, 200)
        clouds.look()
        return clouds.rackspace.found(Sent(alarms={ALARM: "text"}))

    found = asyncio.run(in_clouds(main))
    assert found.missing == 1
    assert "another tenant" in found.wrong


def test_the_pages_of_the_agent_are_read() -> None:
    sink = {"state": "up", "queued": 5, "queued_bytes": 99, "lag": 0.5, "ledger": {"delivered": 7, "expired": 2}}
    page: dict[str, Any] = {
        "sinks": {"obsrv": sink, "insight": {"state": "stopped"}},
        "collectors": {"plant": {"state": "up"}, "alarms": {"state": "starting"}},
    }
    metrics = b'agent_events_told_total{rule="cold"} 3\nagent_events_told_total{rule="hot"} 12\n'
    status = Status.of(page, metrics)
    assert (status.events, status.subscribed) == (12, False)
    assert (status.sink("obsrv").taken, status.sink("obsrv").expired) == (14, 2)
    assert status.sink("insight").taken == status.sink("nobody").taken == 0
    page["collectors"]["alarms"]["state"] = "up"
    assert Status.of(page, b"").subscribed


def test_a_gap_is_shown_as_the_agent_told_it(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    with log.open("wb") as file:
        subprocess.run([sys.executable, "-c", TWO_GAPS], stderr=file, check=True)
    (line,) = gaps(log, "insight")
    assert line.startswith("sink=insight records=7 ")
    assert "from=2026-03-01T12:00:00.000Z to=2026-03-01T12:01:00.000Z" in line


async def in_clouds(work: Any) -> Any:
    async with Clouds.open(None) as clouds:
        return await work(clouds)


def document(tenant: str, what: str, data: str) -> Document:
    return Document(tenant=tenant, what=what, when=1, tags="demo", data=data)


def row(device: str, messages: int, target: str | None = "there") -> Row:
    return Row(
        cw_key=DEVICES_KEY,
        at=1,
        arrived=1,
        request=0,
        target=target,
        dimensions={"device": device},
        metrics={"messages": messages},
    )
