"""What goes on for a day and costs records is told when it begins, and from then on by the hour: nobody reads more."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from farside import FarSide, Post, Reply, far_side, refuse
from rig import Rig, capture_logs, rig
from virtual import later, run

from agent.ports import Limits

HOURS = 3


def told(logs: list[MutableMapping[str, Any]], event: str) -> list[int]:
    """The numbers of records in the lines of that event."""
    return [line["records"] for line in logs if line["event"] == event]


def small(settings: dict[str, Any]) -> None:
    settings["max_bytes"] = 1 << 20


def test_a_spool_that_is_full_for_hours_is_told_by_the_hour(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path, change=small) as it, far_side(lambda request: Reply(503)) as far:
            delivery = it.delivery(Post(far.port))
            with capture_logs() as logs:
                async with it.running(delivery):
                    for minute in range(HOURS * 60):
                        await it.put([minute], pad=200_000)
                        await later(60)
            [cursor] = it.spool.cursors("lake")
            given_up = told(logs, "the spool is full, the oldest records are given up")
            assert cursor.ledger.evicted > HOURS * 60 - 10
            assert HOURS <= len(given_up) <= HOURS + 4
            assert cursor.ledger.evicted - 60 <= sum(given_up) <= cursor.ledger.evicted

    run(main())


def test_bad_records_in_good_business_are_told_by_the_hour_and_none_is_left_untold(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side(refuse(*range(0, HOURS * 60, 2))) as far:
            delivery = it.delivery(Post(far.port, Limits(records=1)))
            with capture_logs() as logs:
                async with it.running(delivery):
                    await _business(it, far)
                    await later(3700)
            [cursor] = it.spool.cursors("lake")
            buried = told(logs, "records refused, kept as dead letters")
            assert cursor.ledger.dead == HOURS * 30 == sum(buried)
            assert HOURS <= len(buried) <= HOURS + 5

    run(main())


async def _business(it: Rig, far: FarSide) -> None:
    for minute in range(HOURS * 60):
        await it.put([minute])
        await later(60)
    assert far.stored
