"""A spool in which nothing happens looks around once a minute, and is as quick as ever when something does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from farside import Post, far_side
from rig import rig
from virtual import later, run, until

from agent.spool.janitor import Janitor


def test_ticks_follow_from_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = 0
    tick = Janitor._tick

    async def counted(janitor: Janitor) -> None:
        nonlocal ticks
        ticks += 1
        await tick(janitor)

    monkeypatch.setattr(Janitor, "_tick", counted)

    async def main() -> None:
        nonlocal ticks
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Post(far.port))
            [cursor] = it.spool.cursors("lake")
            async with it.running(delivery):
                for n in range(3):
                    await it.put([n])
                    await until(lambda: delivery.queued() == 0)
                    await later(3)
                    assert cursor.saved == n + 1
                ticks = 0
                await later(600)
                assert 9 <= ticks <= 11
                ticks = 0
                await it.put([3])
                await until(lambda: cursor.saved == 4, within=4)
                assert ticks >= 1
                # What the far side takes late is no news to the writer; the cursor tells of it.
                far.gate = asyncio.Event()
                await it.put([4])
                await until(lambda: far.open_now == 1)
                await later(15)
                ticks = 0
                far.gate.set()
                await until(lambda: cursor.saved == 5, within=4)
                assert ticks >= 1

    run(main())


def test_cursors_are_saved_in_time_however_often_room_is_called_for(tmp_path: Path) -> None:
    # As a writer does on a full disk: the room it calls for comes of cursors that are saved.
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            delivery = it.delivery(Post(far.port))
            [cursor] = it.spool.cursors("lake")
            async with it.running(delivery):
                await it.put([0])
                await until(lambda: delivery.queued() == 0)
                for _ in range(30):
                    it.spool._works.janitor.wake()
                    await later(0.1)
                assert cursor.saved == 1

    run(main())
