"""What keeps the spool from its work: threads that hang, files that cannot go, room that cannot be made."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from spooling import opened, part, records, run, until
from structlog.testing import capture_logs
from test_spool_limits import SMALL, pour

from agent.spool import Reader, Spool, State, audit, janitor, progress, segment, writer
from agent.spool.head import Head, decoded, fitted, mark_of
from agent.stats import Health


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch, call: str, thread: str) -> Iterator[threading.Event]:
    """Let the next calls of `os.<call>` on such a thread hang until the block ends; set once one does."""
    real = getattr(os, call)
    entered, released = threading.Event(), threading.Event()

    def hang(*arguments: object) -> object:
        if threading.current_thread().name.startswith(thread) and not entered.is_set():
            entered.set()
            released.wait(20)
        return real(*arguments)

    monkeypatch.setattr(os, call, hang)
    try:
        yield entered
    finally:
        released.set()
        monkeypatch.undo()


def test_a_keeper_that_hangs_does_not_answer(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(10))])
            assert await spool.alive()
            with hanging(monkeypatch, "fdatasync", "spool-keeper") as entered:
                saving = asyncio.create_task(spool.cursors("lake")[-1].save())
                await until(entered.is_set)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(spool.alive(), 0.2)
            await saving
            assert await spool.alive()

    run(main)


def test_one_reading_thread_that_hangs_shows_while_another_reads(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(10))])
        async with opened(state) as spool:  # what was written by another run is not in memory
            lane = spool.lanes["all"]
            with hanging(monkeypatch, "pread", "spool-read") as entered:
                reading = asyncio.create_task(lane.read(0, 10, 1000))
                await until(entered.is_set)
                assert await lane.read(0, 10, 1000) is not None
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(spool.alive(), 0.2)
            assert await reading is not None
            assert await spool.alive()

    run(main)


@contextmanager
def fixed_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No segment can be deleted."""
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".seg":
            raise OSError(errno.EPERM, "Operation not permitted")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    try:
        yield
    finally:
        monkeypatch.setattr(Path, "unlink", real)


def test_room_that_cannot_be_made_closes_intake_by_its_cause_until_it_can(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(writer, "_ROOM_SECONDS", 0.05)
    monkeypatch.setattr(janitor, "TICK_SECONDS", 0.05)
    health = Health()

    async def main() -> None:
        async with opened(state, health=health, **SMALL) as spool:
            with fixed_segments(monkeypatch):
                pouring = asyncio.create_task(pour(spool, 2000))
                await until(lambda: spool.closed_reason is not None)
                reason = "the spool is full and room cannot be made: [Errno 1] Operation not permitted"
                assert spool.closed_reason == reason
                assert health.part("spool", "writer").state == "down"
                assert await spool.alive()
                await spool.flush()  # does not wait for what cannot be
                await asyncio.sleep(0.5)  # long enough for the janitor to have said it again
                assert not pouring.done()
            await pouring
            assert spool.closed_reason is None
            await until(lambda: spool._works.janitor._trouble is None)
            assert health.part("spool", "writer").state == "up"

    with capture_logs() as said:
        run(main)
    events = [line["event"] for line in said]
    for event in ("spool cannot make room", "spool takes nothing in", "spool makes room again", "spool has room again"):
        assert events.count(event) == 1, event
    assert audit(state).balanced


def test_a_sink_that_blocks_is_the_reason_given_however_long_it_does(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(writer, "_ROOM_SECONDS", 0.05)

    async def main() -> None:
        async with opened(state, Reader("lake", "all", on_full="block"), **SMALL) as spool:
            pouring = asyncio.create_task(pour(spool, 2000))
            await until(lambda: spool._closed_by_sink is not None)
            asked = await asyncio.gather(*(spool.alive() for _ in range(3)))
            assert all(asked)
            assert spool._works.writer.closed is None
            assert spool.closed_reason is not None
            assert "lake" in spool.closed_reason
            pouring.cancel()

    run(main)


def test_a_flush_returns_when_the_spool_is_closed(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(1))])
        async with asyncio.timeout(5):
            await spool.flush()

    run(main)


async def drained(spool: Spool) -> None:
    former, _ = spool.cursors("lake")
    former.book(10, State.DELIVERED)
    await spool.close_cursor(former)
    await spool.close_cursor(former)  # whoever was interrupted asks again
    assert len(spool.cursors("lake")) == 1
    await spool._works.janitor._tick()
    await spool.append([part(records(10))])


def test_a_foreign_file_in_a_former_lane_keeps_its_directory_and_nothing_else(state: Path) -> None:
    place = state / "lanes" / "former"

    async def main() -> None:
        async with opened(state, Reader("lake", "former")) as spool:
            await spool.append([part(records(10), lane="former")])
        (place / "notes.txt").write_text("mine")
        async with opened(state) as spool:
            with capture_logs() as said:
                await drained(spool)
            assert [line["event"] for line in said] == ["a drained lane stays in part until the next start"]
            assert "former" not in spool.lanes
        assert [path.name for path in place.iterdir()] == ["notes.txt"]
        async with opened(state) as spool:
            assert "former" not in spool.lanes
        (place / "notes.txt").unlink()
        async with opened(state):
            pass
        assert not place.exists()

    run(main)
    assert audit(state).balanced


def test_a_former_lane_that_cannot_be_removed_now_goes_at_the_next_start(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(state, Reader("lake", "former")) as spool:
            await spool.append([part(records(10), lane="former")])
        async with opened(state) as spool:
            with fixed_segments(monkeypatch), capture_logs() as said:
                await drained(spool)
            assert [line["event"] for line in said] == ["a drained lane stays in part until the next start"]
            await spool._works.janitor._make_room()  # the disk is itself again
            assert spool.lanes["former"].segments == ()
        assert audit(state).balanced
        async with opened(state) as spool:
            former, own = spool.cursors("lake")
            assert (former.position, former.end) == (10, 10)
            before = own.inherited_dead
            await spool.close_cursor(former)
            assert own.inherited_dead == before
            assert not (state / "lanes" / "former").exists()

    run(main)
    assert audit(state).balanced


def test_more_sinks_than_a_head_mark_holds_do_not_stop_the_janitor(state: Path) -> None:
    many = [Reader(f"sink-{'x' * 40}-{i}", "all") for i in range(400)]

    async def main() -> None:
        async with opened(state, *many, durability="none", **SMALL) as spool:
            with capture_logs() as said:
                await pour(spool, 1500)
                await until(lambda: spool.bytes <= SMALL["max_bytes"], seconds=30)
                await spool._works.janitor._tick()
            assert not [line for line in said if line["event"] == "failed, goes on"]
            assert spool.lanes["all"].first > 0

    run(main)
    mark = mark_of(state / "lanes" / "all")
    assert mark.load()
    assert mark.value is not None
    head = decoded(mark.value)
    assert head is not None
    assert (head.head, 100 < len(head.cursors) < 400) == (1500, True)


def test_the_oldest_claims_go_before_any_cursor_of_the_registry() -> None:
    cursors = {f"sink-{i}": (10**9, 10**12) for i in range(150)}
    whole = Head(claims_from=5, acked={f"collector-{i:03}": 1000 + i for i in range(600)}, cursors=cursors)
    held = fitted(whole)
    assert held.cursors == cursors
    assert 0 < len(held.acked) < 600
    # What is still named counts as before; for the others no packet up to the limit is in doubt any more.
    assert all(held.acked[origin] == whole.acked[origin] > held.claims_from for origin in held.acked)
    assert all(whole.acked[origin] <= held.claims_from for origin in whole.acked.keys() - held.acked.keys())
    assert fitted(held) == held


def test_a_long_recovery_says_that_it_goes_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)

    async def main() -> None:
        claimed = {"packets": range(1, 51), "hashes": range(1, 51)}
        async with opened(state, segment_bytes=16_000) as spool:
            for i in range(0, 500, 50):
                await spool.append([part(records(50, i, 300), **claimed)])
        heard: list[str] = []
        threads: set[str] = set()

        def note(text: str) -> None:
            heard.append(text)
            threads.add(threading.current_thread().name)

        async with opened(state, progress=note):
            pass
        assert threads == {threading.main_thread().name}
        assert "recovering lane all: 3 of 12 files" in heard
        assert "recovering lane all: 9 of 10 segments" in heard
        # Within a segment, too.
        assert heard.count("recovering lane all: reading its last segment") > 1
        monkeypatch.setattr(progress, "EVERY_SECONDS", 60.0)
        heard.clear()
        async with opened(state, progress=note):
            pass
        assert len(heard) == 1

    run(main)


def test_a_segment_that_all_are_done_with_makes_room_for_a_write_that_failed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a quota does it: the disk has room, and yet nothing can be written while the old segment is there.
    writev, create = os.writev, segment.create

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(500))])
            (cursor,) = spool.cursors("lake")
            cursor.book(500, State.DELIVERED)
            await cursor.save()
            await until(lambda: not spool._works.janitor._stirred.is_set())
            [old] = (state / "lanes" / "all").glob("*.seg")

            def refused() -> None:
                if old.exists():
                    raise OSError(errno.EDQUOT, "Disk quota exceeded")

            def limited_writev(fd: int, buffers: Sequence[bytes]) -> int:
                refused()
                return writev(fd, buffers)

            def limited_create(*arguments: Any) -> int:
                refused()
                return create(*arguments)

            monkeypatch.setattr(os, "writev", limited_writev)
            monkeypatch.setattr(segment, "create", limited_create)
            await asyncio.wait_for(spool.append([part(records(10))]), 20)
            assert not old.exists()

    run(main)
