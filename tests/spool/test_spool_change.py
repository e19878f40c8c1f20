"""Other readers while the spool is open: as if it had been closed and opened again, and killed at any call."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from disk import Disk
from spooling import LAKE, deliver, everything, opened, part, records, run, temporary, until

from agent.spool import Cursor, Reader, Spool, State, audit


def seats(spool: Spool) -> list[tuple[Any, ...]]:
    """Every cursor, by what the next batch and the next change depend on."""
    shown = [
        (
            each.sink, each.lane.name, each.start, each.position, each.end, each.names, each.blocks, each.retired_ms,
            [(plan.first, plan.count, plan.crc) for plan in each.plans], each.ledger.as_dict(),
        )
        for each in spool._works.janitor.all()
    ]  # fmt: skip
    return sorted(shown, key=repr)


def order(spool: Spool, readers: Sequence[Reader]) -> dict[str, list[str]]:
    return {reader.sink: [cursor.lane.name for cursor in spool.cursors(reader.sink)] for reader in readers}


async def saved(spool: Spool) -> None:
    for cursor in spool._works.janitor.all():
        await cursor.save()


@pytest.mark.parametrize("seed", range(12))
def test_a_change_comes_to_what_a_start_comes_to(seed: int) -> None:
    rng = Random(seed)
    names, lanes = ["a", "b", "c", "d"], ["all", "x", "y"]

    def some() -> list[Reader]:
        chosen = rng.sample(names, rng.randint(1, 3))
        free = [name for name in names if name not in chosen]
        return [
            Reader(
                name,
                rng.choice(lanes),
                rng.choice(["oldest", "newest"]),
                rng.choice(["drop_oldest", "block"]),
                free.pop() if free and rng.random() < 0.4 else None,
            )
            for name in chosen
        ]

    async def main(place: Path) -> None:
        readers = some()
        async with opened(place / "state", *readers) as spool:
            for n in range(12):
                wanted = sorted({reader.lane for reader in readers})
                await spool.append([part(records(7, 100 * n), lane=lane) for lane in wanted])
                for reader in rng.sample(readers, rng.randint(0, len(readers))):
                    for cursor in spool.cursors(reader.sink)[:-1]:
                        if rng.random() < 0.5 and cursor.end is not None:
                            cursor.book(cursor.end - cursor.planned_end, State.DELIVERED)
                            await spool.close_cursor(cursor)
                    if len(spool.cursors(reader.sink)) == 1:
                        await deliver(spool, reader.sink, batch=5, most=rng.randint(1, 20))
                await saved(spool)
                copy = place / f"copy-{n}"
                shutil.copytree(place / "state", copy)
                readers = some()
                await spool.change(readers)
                async with opened(copy, *readers) as other:
                    assert seats(spool) == seats(other), f"change {n}"
                    assert order(spool, readers) == order(other, readers)
                    assert spool.lanes.keys() == other.lanes.keys()
                with pytest.raises(KeyError):
                    spool.append([part(records(1), lane="nobody's")])
        assert audit(place / "state").balanced

    with temporary() as directory:
        run(lambda: main(Path(directory)))


def test_who_stays_keeps_his_cursor_and_hears_of_nothing(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("gone", "all")) as spool:
            await spool.append([part(records(50))])
            (mine,) = spool.cursors("lake")
            plan = mine.plan(1, 0, 10, 7)
            await spool.change([LAKE, Reader("new", "few"), Reader("late", "all", start="newest")])
            assert spool.cursors("lake") == [mine]
            assert mine.plans == [plan]
            assert [(each.start, each.position) for each in spool.cursors("late")] == [(50, 50)]
            await spool.append([part(records(5), lane="few"), part(records(5, 50))])
            found, _ = await everything(spool.lanes["few"])
            assert len(found) == 5
            (gone,) = [each for each in spool._works.janitor.all() if each.sink == "gone"]
            assert gone.end == 50
            await until(lambda: gone.retired_ms is not None)

    run(main)
    assert audit(state).balanced


def test_lanes_that_come_and_go_leave_nothing_behind(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE) as spool:
            open_files = 0
            for n in range(30):
                await spool.change([Reader("lake", f"lane-{n}")])
                await spool.append([part(records(20), lane=f"lane-{n}")])
                for former in spool.cursors("lake")[:-1]:
                    former.book((former.end or 0) - former.planned_end, State.DELIVERED)
                    await spool.close_cursor(former)
                assert sorted(spool.lanes) == ["dead", f"lane-{n}"]
                await spool.flush()
                if n == 5:
                    open_files = len(os.listdir("/proc/self/fd"))
            await until(lambda: len(os.listdir("/proc/self/fd")) <= open_files)
            assert sorted(each.name for each in (state / "lanes").iterdir()) == ["dead", "lane-29"]

    run(main)
    assert audit(state).balanced


def test_a_change_that_the_disk_does_not_take_can_be_changed_back(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE) as spool:
            await spool.append([part(records(10))])
            (state / "lanes" / "few").write_text("in the way")
            with pytest.raises(OSError, match="few"):
                await spool.change([Reader("lake", "few"), Reader("new", "all")])
            await spool.change([LAKE])
            await spool.append([part(records(10, 10))])
            (own,) = spool.cursors("lake")
            assert (own.position, own.end, own.lane.head) == (0, None, 20)
            (state / "lanes" / "few").unlink()
            await spool.change([Reader("lake", "few"), Reader("new", "all")])
            assert [cursor.lane.name for cursor in spool.cursors("lake")] == ["all", "few"]

    run(main)
    assert audit(state).balanced


def test_what_a_collector_stored_before_it_began_anew_is_known_again(state: Path) -> None:
    def sent(*packets: int, origin: str = "plant") -> Any:
        return part(records(len(packets)), origin=origin, packets=packets, hashes=[packet * 10 for packet in packets])

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([sent(1, 2), sent(7, origin="barn")])
            spool.confirm("plant", spool.checkpoint("plant"))
            spool.append([sent(2, 3)])
            assert await spool.recall("plant")
            assert spool.unacked("plant") == {2: 20, 3: 30}
            assert spool.unacked("barn") == {}
            spool.confirm("plant", spool.checkpoint("plant"))
            assert await spool.recall("plant")
            assert spool.unacked("plant") == {}
            await spool.append([sent(4)])
            assert await spool.recall("plant")
            assert spool.unacked("plant") == {4: 40}
        async with opened(state) as spool:
            assert spool.unacked("plant") == {4: 40}

    run(main)


# Killed at any call.

FILE = Reader("file", "one")
BEFORE = (Reader("lake", "one"), FILE, Reader("old", "one"), Reader("gone", "few"), Reader("mover", "few"))
AFTER = (
    *(Reader("lake", "two"), FILE, Reader("new", "one", was="old"), Reader("mover", "one")),
    Reader("back", "few", "newest"),
)


async def a_life(state: Path, disk: Disk) -> None:
    """Records before, between and after changes; whom each of them is for is noted once it is acknowledged."""
    number = 0

    async def put(spool: Spool, **lanes: Sequence[str]) -> None:
        nonlocal number
        await spool.append([part(records(10, number), lane=lane) for lane in lanes])
        for sinks in lanes.values():
            for sink in sinks:
                for n in range(number, number + 10):
                    disk.note((sink, n), True)
        number += 10

    async with opened(state, *BEFORE) as spool:
        await put(spool, one=["lake", "file", "new"], few=["mover"])
        await deliver(spool, "lake", most=5)
        await spool.change(AFTER)
        await put(spool, two=["lake"], one=["file", "new", "mover"], few=["back"])
        await spool.change(AFTER[:-1])
        await put(spool, two=["lake"], one=["file", "new", "mover"])
        await spool.change(AFTER)
        await put(spool, two=["lake"], one=["file", "new", "mover"], few=["back"])


async def given(spool: Spool, sink: str) -> Counter[int]:
    """The numbers of all records that the sink has had or will get."""
    out: Counter[int] = Counter()
    for cursor in spool.cursors(sink):
        found, gaps = await everything(cursor.lane, cursor.start)
        assert gaps == []
        out += Counter(json.loads(found[i])["n"] for i in found if cursor.end is None or i < cursor.end)
    return out


@pytest.fixture(scope="module")
def lived() -> Any:
    with temporary() as name:
        disk = Disk(Path(name))
        with disk.recording():
            run(lambda: a_life(Path(name) / "state", disk))
        yield disk


@pytest.mark.parametrize("how", ["killed", "power_cut"])
def test_whenever_it_ends_the_next_start_gives_each_sink_what_was_meant_for_it_once(lived: Disk, how: str) -> None:
    async def found(state: Path, known: dict[Any, Any]) -> None:
        async with opened(state, *AFTER) as spool:
            for sink in ("lake", "file", "new", "mover", "back"):
                numbers = await given(spool, sink)
                missing = [n for kind, n in known if kind == sink and not numbers[n]]
                assert missing == [], sink
                assert max(numbers.values(), default=1) == 1, sink

    for at in range(0, len(lived.log) + 1, 1 if how == "killed" else 3):
        with temporary() as name:
            getattr(lived, how)(at, Random(at)).put(Path(name))
            run(lambda at=at, name=name: found(Path(name) / "state", lived.notes(at)))


def test_after_a_kill_the_former_readers_get_all_of_theirs_too(lived: Disk) -> None:
    async def found(state: Path, known: dict[Any, Any]) -> None:
        async with opened(state, *BEFORE) as spool:
            cursors: dict[str, list[Cursor]] = {}
            for cursor in spool._works.janitor.all():
                cursors.setdefault(cursor.sink, []).append(cursor)
            for sink in ("lake", "file"):
                numbers = await given(spool, sink)
                assert [n for kind, n in known if kind == sink and not numbers[n]] == [], sink

    for at in range(0, len(lived.log) + 1, 5):
        with temporary() as name:
            lived.killed(at, Random(at)).put(Path(name))
            run(lambda at=at, name=name: found(Path(name) / "state", lived.notes(at)))
