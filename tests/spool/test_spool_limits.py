"""Limits: what goes when room runs out, what waits, and how the spool comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from spooling import LAKE, dead, deliver, everything, letter, opened, part, records, run, until

from agent.record import Run
from agent.spool import Gap, Reader, Spool, State, audit, default_limits, keeper
from agent.spool.settings import KIB, MIB
from agent.stats import Stats

BLOCK = Reader("lake", "all", on_full="block")
SMALL = {"max_bytes": MIB, "segment_bytes": 128 * KIB}


async def pour(spool: Spool, count: int, start: int = 0, lane: str = "all") -> None:
    """Append that many records of 1 KB, 50 at a time, each durable before the next."""
    for i in range(start, start + count, 50):
        await spool.append([part(records(50, i, 1000), lane=lane)])


def test_the_oldest_goes_when_the_spool_is_full_and_is_booked(state: Path) -> None:
    stats = Stats()
    most = 0

    async def main() -> None:
        nonlocal most
        async with opened(state, stats=stats, **SMALL) as spool:
            cursor = spool.cursors("lake")[-1]
            for i in range(0, 5000, 50):
                await spool.append([part(records(50, i, 1000))])
                most = max(most, spool.bytes)
            await until(lambda: spool.bytes <= MIB)
            lane = cursor.lane
            assert cursor.position == lane.first == cursor.ledger.evicted > 3500
            found, gaps = await everything(lane, lane.first)
            assert (gaps, list(found.values())) == ([], records(5000, size=1000)[lane.first :])
        report = audit(state)
        assert report.balanced, report.findings

    run(main)
    assert most <= MIB + 128 * KIB
    evicted = stats.counter("agent_spool_evicted_records_total", "", sink="lake").value
    assert evicted > 3500


def test_only_laggards_lose_and_each_in_its_own_books(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("slow", "all"), **SMALL) as spool:
            for i in range(0, 4000, 200):
                await pour(spool, 200, i)
                await deliver(spool, "lake")
            await until(lambda: spool.bytes <= MIB)
            quick, slow = spool.cursors("lake")[-1], spool.cursors("slow")[-1]
            assert (quick.ledger.delivered, quick.ledger.evicted) == (4000, 0)
            assert slow.ledger.evicted == slow.position > 2500
        assert audit(state).balanced

    run(main)


def test_a_small_lane_is_not_evicted_for_a_large_one(state: Path) -> None:
    async def main() -> None:
        few = Reader("notes", "few")
        async with opened(state, LAKE, few, **SMALL) as spool:
            for i in range(0, 10_000, 50):
                await spool.append([part(records(50, i, 1000)), part(records(1, i, 1000), lane="few")])
            await until(lambda: spool.bytes <= MIB)
            assert spool.lanes["few"].first == 0
            assert spool.cursors("notes")[-1].ledger.evicted == 0
            assert spool.cursors("lake")[-1].ledger.evicted > 8000

    run(main)


def test_batches_in_flight_are_cancelled_and_what_may_have_been_taken_is_told_apart(state: Path) -> None:
    async def main() -> None:
        async with opened(state, **SMALL) as spool:
            await pour(spool, 200)
            cursor = spool.cursors("lake")[-1]
            got = await cursor.lane.read(0, 60, MIB)
            assert isinstance(got, Run)
            sent = cursor.plan(got.segment_id, 0, 40, 1)
            sent.state = State.MAYBE
            cursor.plan(got.segment_id, 40, 20, 2)
            await cursor.save()
            told: list[tuple[int, int]] = []
            cursor.on_evict = lambda end: told.append((end, cursor.ledger.evicted))
            await pour(spool, 3000, 200)
            await until(lambda: spool.bytes <= MIB)
            assert told[0][1] == 0
            assert told[0][0] >= 60
            assert cursor.ledger.evicted_maybe_taken == 40
            assert cursor.ledger.evicted == cursor.position
            late = await cursor.lane.read(10, 5, MIB)
            assert late == Gap(10, cursor.lane.first - 10, State.EVICTED)
            assert not cursor.settle(sent, State.DELIVERED)

    run(main)


def test_a_segment_is_deleted_only_after_its_eviction_is_durable(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a segment goes, the cursor on disk is past it already."""
    seen: list[int] = []
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".seg" and path.exists():
            (cursor,) = [one for one in audit(state).cursors if one.sink == "lake"]
            following = [int(other.name[:16], 16) for other in path.parent.glob("*.seg") if other.name > path.name]
            assert cursor.position >= min(following, default=0)
            seen.append(cursor.position)
        real(path, missing_ok=missing_ok)

    async def main() -> None:
        async with opened(state, **SMALL) as spool:
            monkeypatch.setattr(Path, "unlink", unlink)
            await pour(spool, 2000)
            await until(lambda: spool.bytes <= MIB)
            monkeypatch.undo()

    run(main)
    assert seen


def test_a_sink_that_blocks_closes_intake_by_name_and_opens_it_again(state: Path) -> None:
    async def main() -> None:
        async with opened(state, BLOCK, **SMALL) as spool:
            pouring = asyncio.create_task(pour(spool, 3000))
            await until(lambda: spool.closed_reason is not None)
            assert spool.closed_reason is not None
            assert "lake" in spool.closed_reason
            assert "block" in spool.closed_reason
            assert spool.bytes <= MIB + 128 * KIB
            assert not pouring.done()
            assert await spool.alive()
            await spool.flush()  # does not wait for what cannot be
            while not pouring.done():
                await deliver(spool, most=200)
                await spool._works.janitor._make_room()
            await pouring
            await deliver(spool)
            await until(lambda: spool.closed_reason is None)
            assert spool.cursors("lake")[-1].ledger.delivered == 3000

    run(main)


def test_a_blocking_sink_stops_without_losing_what_was_acknowledged(state: Path) -> None:
    async def main() -> None:
        acknowledged = 0
        async with opened(state, BLOCK, **SMALL) as spool:

            async def pouring() -> None:
                nonlocal acknowledged
                while True:
                    await pour(spool, 50, acknowledged)
                    acknowledged += 50

            task = asyncio.create_task(pouring())
            await until(lambda: spool.closed_reason is not None)
            task.cancel()
        async with opened(state, BLOCK, **SMALL) as spool:
            found, gaps = await everything(spool.lanes["all"])
            assert gaps == []
            assert list(found.values())[:acknowledged] == records(acknowledged, size=1000)

    run(main)


def test_a_retired_sink_holds_its_records_within_the_limits_only(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("gone", "all", on_full="block"), **SMALL) as spool:
            await pour(spool, 500)
        async with opened(state, **SMALL) as spool:
            for i in range(500, 3000, 250):
                await pour(spool, 250, i)
                await deliver(spool)
            await until(lambda: spool.bytes <= MIB)
            (gone,) = [one for one in spool._works.janitor.cursors["all"] if one.sink == "gone"]
            assert gone.ledger.evicted == 500
        assert audit(state).balanced

    run(main)


def test_free_disk_below_the_minimum_evicts_only_where_that_can_help(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10 * MIB
    real = os.statvfs

    def statvfs(path: str | Path) -> object:
        found = real(path)
        return type("Disk", (), {"f_bavail": free, "f_frsize": 1, "f_blocks": found.f_blocks})

    async def main() -> None:
        nonlocal free
        monkeypatch.setattr(os, "statvfs", statvfs)
        limits = {"max_bytes": 64 * MIB, "segment_bytes": 128 * KIB, "min_free_bytes": MIB}
        async with opened(state, **limits) as spool:
            cursor = spool.cursors("lake")[-1]
            await pour(spool, 400)
            assert cursor.ledger.evicted == 0
            free = 100 * KIB  # full of something else: all we have would not make up for it
            await pour(spool, 200, 400)
            await until(lambda: not spool._works.janitor._disk_low)
            assert cursor.ledger.evicted == 0
            free = 800 * KIB
            await pour(spool, 200, 600)
            await until(lambda: cursor.ledger.evicted > 0)
            free = 10 * MIB
            await until(lambda: not spool._works.janitor._disk_low)
            await pour(spool, 200, 800)
        assert audit(state).balanced

    run(main)


def test_a_record_larger_than_a_segment_is_stored(state: Path) -> None:
    async def main() -> None:
        async with opened(state, **SMALL) as spool:
            large = records(1, size=256 * KIB)
            for _ in range(12):
                await spool.append([part(large)])
            await until(lambda: spool.bytes <= MIB)
            lane = spool.lanes["all"]
            got = await lane.read(lane.head - 1, 1, 1)
            assert isinstance(got, Run)
            assert got.records() == large

    run(main)


def test_the_dead_lane_is_emptied_into_its_files_not_evicted(state: Path) -> None:
    async def main() -> None:
        async with opened(state, dead_max_bytes=MIB, **SMALL) as spool:
            for i in range(40):
                await spool.append([dead(*(letter(f"{i:x}-{j}") + b" " * 1000 for j in range(50)))])
            await until(lambda: spool.bytes <= MIB)
        report = audit(state)
        assert report.balanced, report.findings
        assert sum(report.dead_letters.values()) + sum(report.dead_dropped.values()) == 2000

    run(main)


def test_the_defaults_follow_the_filesystem(tmp_path: Path) -> None:
    most, free = default_limits(tmp_path / "not" / "there" / "yet")
    disk = os.statvfs(tmp_path)
    size = disk.f_blocks * disk.f_frsize
    assert most == max(MIB, min(1 << 30, size // 10))
    assert free == min(512 * MIB, size // 20)


# A disk that is really full, and one that is really read-only.


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """A small file system of its own at `place`."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small tmpfs here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_closes_intake_and_delivery_opens_it_again(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "2m") as disk:

        async def main() -> None:
            acknowledged = 0
            async with opened(disk / "state", max_bytes=64 * MIB, segment_bytes=256 * KIB) as spool:

                async def pouring() -> None:
                    nonlocal acknowledged
                    while True:
                        await pour(spool, 50, acknowledged)
                        acknowledged += 50

                task = asyncio.create_task(pouring())
                await until(lambda: spool.closed_reason is not None)
                assert spool.closed_reason is not None
                assert "no space left" in spool.closed_reason.lower()
                full_at = acknowledged
                assert full_at > 1000
                # Reading and settling go on, and the room that makes is taken at once.
                cursor = spool.cursors("lake")[-1]
                assert await deliver(spool, most=full_at // 2) == full_at // 2
                assert cursor.saved == full_at // 2
                await until(lambda: acknowledged > full_at)
                while acknowledged < 3 * full_at:
                    await deliver(spool)
                    await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await deliver(spool)
                await until(lambda: spool.closed_reason is None)
                await deliver(spool)
                assert cursor.ledger.delivered == cursor.position >= acknowledged
            assert audit(disk / "state").balanced

        run(main)


def test_nothing_acknowledged_is_lost_by_a_stop_on_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:

        async def main() -> None:
            acknowledged = 0
            async with opened(disk / "state", max_bytes=64 * MIB, segment_bytes=128 * KIB) as spool:
                while spool.closed_reason is None:
                    future = spool.append([part(records(50, acknowledged, 1000))])
                    while not future.done() and spool.closed_reason is None:
                        await asyncio.sleep(0.001)
                    acknowledged += 50 * future.done()
                await deliver(spool, most=10)
                assert spool.cursors("lake")[-1].saved == 10
            assert future.cancelled()
            async with opened(disk / "state", max_bytes=64 * MIB, segment_bytes=128 * KIB) as spool:
                found, gaps = await everything(spool.lanes["all"], 10)
                assert gaps == []
                assert list(found.values())[: acknowledged - 10] == records(acknowledged, size=1000)[10:]

        run(main)


def test_it_opens_on_a_disk_that_was_full_from_the_start(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "256k") as disk:
        (disk / "state").mkdir()
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            os.posix_fallocate(file.fileno(), 0, MIB)
        free = os.statvfs(disk)
        filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize))

        async def main() -> None:
            async with opened(disk / "state") as spool:
                assert spool.closed_reason is not None
                waiting = spool.append([part(records(10))])
                filler.unlink()
                spool._works.writer.kick()
                await waiting
                await until(lambda: spool.closed_reason is None)
                assert await deliver(spool) == 10

        run(main)


def test_a_read_only_disk_is_opened_read_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RETRY_SECONDS", 0.1)
    with mounted(tmp_path / "disk", "4m") as disk:

        def remount(how: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)

        async def main() -> None:
            async with opened(disk / "state") as spool:
                await spool.append([part(records(100))])
            remount("ro")
            async with opened(disk / "state") as spool:
                assert spool.closed_reason is not None
                assert (await everything(spool.lanes["all"]))[0] == dict(enumerate(records(100)))
                waiting = spool.append([part(records(10, 100))])
                cursor = spool.cursors("lake")[-1]
                got = await cursor.lane.read(0, 50, MIB)
                assert isinstance(got, Run)
                cursor.plan(got.segment_id, 0, 50, 1)
                saving = asyncio.create_task(cursor.save())
                await asyncio.sleep(0.05)
                # No name is durable, so nothing may be sent under it; nothing is acknowledged.
                assert not saving.done()
                assert not waiting.done()
                remount("rw")
                spool._works.writer.kick()
                await waiting
                await saving
                await until(lambda: spool.closed_reason is None)
            async with opened(disk / "state") as spool:
                assert spool.lanes["all"].head == 110
                assert [plan.count for plan in spool.cursors("lake")[-1].plans] == [50]
            remount("ro")
            async with opened(disk / "state") as spool:
                assert spool.closed_reason is not None  # and ends without waiting for the disk

        run(main)
