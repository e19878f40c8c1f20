"""The power fails at each call of a run in turn: what was acknowledged, buried or taken out before it stays so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import pytest
from disk import Disk
from platter import BLOCK
from spooling import LAKE, dead, everything, letter, opened, part, records, run, temporary

from agent.record import Run
from agent.spool import Reader, State
from agent.spool.lines import Fate

LIMITS = {"segment_bytes": 4 << 10, "max_bytes": 1 << 20}
BOTH = (LAKE, Reader("pond", "all"))


def put(path: Path, data: bytes, *, at: int = 0, sync: bool) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, data, at)
    if sync:
        os.fsync(fd)
    os.close(fd)


def sync_names(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def left_of(work: Any, seed: int) -> dict[str, bytes]:
    """What a power cut leaves after that work in a folder."""
    with temporary() as name:
        place = Path(name)
        disk = Disk(place)
        with disk.recording():
            work(place)
            assert {path.name: path.read_bytes() for path in place.iterdir()} == disk.there()
        disk.become(disk.power_cut(len(disk.log), Random(seed)))
        return {path.name: path.read_bytes() for path in place.iterdir()}


def test_what_was_synced_with_its_name_stays() -> None:
    def work(place: Path) -> None:
        put(place / "kept", b"a" * 2000, sync=True)
        sync_names(place)

    assert all(left_of(work, seed) == {"kept": b"a" * 2000} for seed in range(50))


def test_a_synced_file_is_no_synced_name() -> None:
    found = [left_of(lambda place: put(place / "nameless", b"a", sync=True), seed) for seed in range(50)]
    assert {} in found
    assert {"nameless": b"a"} in found


def test_of_what_was_not_synced_any_part_is_left() -> None:
    def work(place: Path) -> None:
        put(place / "file", b"a" * 4 * BLOCK, sync=True)
        sync_names(place)
        put(place / "file", b"b" * 4 * BLOCK, at=2 * BLOCK, sync=False)

    found = {left_of(work, seed)["file"] for seed in range(300)}
    untouched = b"a" * 2 * BLOCK
    assert {one[: 2 * BLOCK] for one in found} == {untouched}
    assert b"a" * 4 * BLOCK in found
    assert untouched + b"b" * 4 * BLOCK in found
    assert any(one.startswith(untouched + b"a" * BLOCK + b"b" * BLOCK) for one in found), "never out of order"
    assert any(len(one) % BLOCK for one in found), "never torn within a block"


def test_a_rename_is_undone_as_a_whole_or_not_at_all() -> None:
    def work(place: Path) -> None:
        put(place / "draft", b"new", sync=True)
        put(place / "file", b"old", sync=True)
        sync_names(place)
        os.rename(place / "draft", place / "file")

    found = [left_of(work, seed) for seed in range(50)]
    assert {tuple(sorted(one.items())) for one in found} == {
        (("draft", b"new"), ("file", b"old")),
        (("file", b"new"),),
    }


async def a_life(state: Path, disk: Disk, start: int) -> None:
    """All that is promised to be durable on return, noted at the moment it is."""
    async with opened(state, *BOTH, **LIMITS) as spool:
        lane = spool.lanes["all"]
        for i in range(start, start + 3):
            first = lane.head
            some = records(12, 100 * i, 200)
            await spool.append([part(some[:6], origin="barn"), part(some[6:]), dead(letter(f"a-{i}"))])
            disk.note(("records", first), some)
            disk.note(("letter", f"a-{i}"), "kept")
            cursor = spool.cursors(("lake", "pond")[i % 2])[-1]
            got = await lane.read(cursor.planned_end, 5, 1 << 20)
            assert isinstance(got, Run)
            plan = cursor.plan(got.segment_id, got.first, got.count, crc32(got.body))
            await cursor.save()
            disk.note(("batch", cursor.sink, got.first), (got.segment_id, got.count, crc32(got.body)))
            cursor.settle(plan, State.DELIVERED)
            await cursor.save()
            disk.note(("position", cursor.sink), cursor.position)
        shelf = await spool.dead_letters()
        fates: Iterator[Fate] = iter(("replayed", "dropped"))
        async for chunk in shelf.chunks():
            for one, fate in zip(chunk, fates, strict=False):
                disk.note(("letter", one.letter["id"]), "going")
                await shelf.take_out([one], fate)
                disk.note(("letter", one.letter["id"]), "gone")
        for cursor in (spool.cursors("lake")[-1], spool.cursors("pond")[-1]):
            cursor.book(20, State.EXPIRED)
            await cursor.save()
            disk.note(("position", cursor.sink), cursor.position)
        await spool._works.janitor._make_room()


async def found(state: Path) -> dict[Any, Any]:
    """What the next start finds, in the same terms."""
    out: dict[Any, Any] = {}
    async with opened(state, *BOTH, **LIMITS) as spool:
        cursors = [spool.cursors(sink)[-1] for sink in ("lake", "pond")]
        there, _ = await everything(spool.lanes["all"], min(cursor.position for cursor in cursors))
        out = {("record", index): record for index, record in there.items()}
        for cursor in cursors:
            out["position", cursor.sink] = cursor.position
            for plan in cursor.plans:
                out["batch", cursor.sink, plan.first] = plan.segment, plan.count, plan.crc
        async for chunk in (await spool.dead_letters()).chunks():
            for one in chunk:
                assert ("letter", one.letter["id"]) not in out
                out["letter", one.letter["id"]] = "kept"
    return out


def held_against(known: dict[Any, Any], there: dict[Any, Any]) -> None:
    """Nothing that was known before is missing now."""
    for key, value in known.items():
        match key:
            case ("records", first):
                low = min(there["position", "lake"], there["position", "pond"])
                for index, record in enumerate(value, first):
                    assert index < low or there.get(("record", index)) == record, f"record {index}"
            case ("record", index):
                assert there.get(key, value) == value
                assert key in there or index < min(there["position", "lake"], there["position", "pond"])
            case ("position", _):
                assert there[key] >= value, key
            case ("batch", sink, first):
                assert there["position", sink] > first or there.get(key) == value, key
            case ("letter", _):
                assert value == "going" or there.get(key, "gone") == value, key


@pytest.fixture(scope="module")
def lives() -> Iterator[Disk]:
    """Two runs, from a directory that is not there yet; every call of them in the log."""
    with temporary() as name:
        disk = Disk(Path(name))
        with disk.recording():
            run(lambda: a_life(Path(name) / "state", disk, 0))
            run(lambda: a_life(Path(name) / "state", disk, 3))
        assert disk.there() == {
            str(path.relative_to(name)): path.read_bytes() for path in Path(name).rglob("*") if path.is_file()
        }
        yield disk


def test_what_was_done_before_a_power_cut_stays_done(lives: Disk) -> None:
    for at in range(len(lives.log) + 1):
        with temporary() as name:
            lives.power_cut(at, Random(at)).put(Path(name))
            there = run(lambda: found(Path(name) / "state"))
            held_against(lives.notes(at), there)


def test_what_was_found_after_a_kill_is_there_after_a_power_cut_too(lives: Disk) -> None:
    """What the process killed had written and not synced: the next one builds on it."""
    for at in range(0, len(lives.log) + 1, 3):
        with temporary() as name:
            disk = Disk(Path(name))
            with disk.recording():
                disk.become(lives.killed(at, Random(at)))
                there = run(lambda: found(Path(name) / "state"))
                held_against(lives.notes(at), there)
                disk.become(disk.power_cut(len(disk.log), Random(at)))
                held_against(there, run(lambda: found(Path(name) / "state")))
