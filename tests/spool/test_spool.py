"""The spool's face: append, read, cursors, and what it promises to whoever calls it."""

from __future__ import annotations

import asyncio
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from spooling import LAKE, deliver, everything, now_ms, opened, part, records, run, until

from agent.errors import StateError, StateLocked, StateTooNew
from agent.record import Run
from agent.spool import Reader, State
from agent.stats import Health, Stats


def test_what_is_appended_is_read_in_order_and_survives_a_restart(state: Path) -> None:
    data = records(1000)

    async def main() -> None:
        async with opened(state) as spool:
            assert spool.pending_bytes == 0
            future = spool.append([part(data[:600])])
            assert spool.pending_bytes == sum(map(len, data[:600]))
            await future
            assert spool.pending_bytes == 0
            await spool.append([part(data[600:])])
            assert await everything(spool.lanes["all"]) == (dict(enumerate(data)), [])
        async with opened(state) as spool:
            assert await everything(spool.lanes["all"]) == (dict(enumerate(data)), [])

    run(main)


def test_a_run_keeps_to_its_limits_but_holds_at_least_one_record(state: Path) -> None:
    data = records(50, size=100) + records(1, size=5000) + records(50, size=100)

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(data)])
            lane = spool.lanes["all"]
            by_count = await lane.read(3, 7, 1 << 20)
            assert isinstance(by_count, Run)
            assert by_count.records() == data[3:10]
            by_size = await lane.read(0, 100, 5 * 100 + 4)
            assert isinstance(by_size, Run)
            assert by_size.records() == data[:5]
            one_less = await lane.read(0, 100, 5 * 100 + 3)
            assert isinstance(one_less, Run)
            assert one_less.count == 4
            large = await lane.read(50, 100, 10)
            assert isinstance(large, Run)
            assert large.records() == data[50:51]
            for start in range(0, 101, 13):
                for stop in range(start + 1, 102, 17):
                    got = await lane.read(start, stop - start, 1 << 20)
                    assert isinstance(got, Run)
                    assert got.records() == data[start:stop]

    run(main)


def test_small_frames_are_read_together_and_age_by_age_when_asked(state: Path) -> None:
    now = now_ms()

    async def main() -> None:
        async with opened(state) as spool:
            for i in range(20):
                await spool.append([part(records(1, i), received_ms=now - 60_000 + (i >= 12) * 60_000)])
            lane = spool.lanes["all"]
            whole = await lane.read(0, 100, 1 << 20)
            assert isinstance(whole, Run)
            assert (whole.count, whole.oldest_ms, whole.newest_ms) == (20, now - 60_000, now)
            old = await lane.read(0, 100, 1 << 20, aged_before=now - 30_000)
            assert isinstance(old, Run)
            assert (old.count, old.newest_ms) == (12, now - 60_000)
            young = await lane.read(old.end, 100, 1 << 20, aged_before=now - 30_000)
            assert isinstance(young, Run)
            assert (young.count, young.oldest_ms) == (8, now)
            # What a batch holds decides its time, not what came after it: a resend has the same.
            again = await lane.read(0, 5, 1 << 20)
            assert isinstance(again, Run)
            assert again.newest_ms == now - 60_000

    run(main)


def test_a_run_never_spans_a_segment(state: Path) -> None:
    data = records(3000, size=200)

    async def main() -> None:
        async with opened(state, segment_bytes=128 << 10) as spool:
            for i in range(0, 3000, 100):
                await spool.append([part(data[i : i + 100])])
            lane = spool.lanes["all"]
            assert len(lane.segments) > 3
            at, ids = 0, []
            while at < lane.head:
                got = await lane.read(at, 10_000, 1 << 30)
                assert isinstance(got, Run)
                assert got.records() == data[at : got.end]
                ids.append(got.segment_id)
                at = got.end
            assert ids == [segment.id for segment in lane.segments]

    run(main)


def test_an_idle_start_writes_no_segment_and_every_other_start_a_new_one(state: Path) -> None:
    async def main() -> None:
        ids = set()
        for i in range(3):
            async with opened(state) as spool:
                pass
            async with opened(state) as spool:
                await spool.append([part(records(1, i))])
                got = await spool.lanes["all"].read(i, 1, 1000)
                assert isinstance(got, Run)
                ids.add(got.segment_id)
        assert len(ids) == 3 == len(list((state / "lanes" / "all").glob("*.seg")))

    run(main)


def test_sinks_on_one_lane_have_their_own_place_and_books(state: Path) -> None:
    async def main() -> None:
        readers = (LAKE, Reader("file", "all"), Reader("late", "all", start="newest"))
        async with opened(state, *readers[:2]) as spool:
            await spool.append([part(records(100))])
            await deliver(spool, "lake")
        async with opened(state, *readers) as spool:
            lake, file, late = (spool.cursors(reader.sink)[-1] for reader in readers)
            assert (lake.position, file.position, late.position) == (100, 0, 100)
            assert (lake.ledger.delivered, file.ledger.sum, late.ledger.sum) == (100, 0, 0)

    run(main)


def test_segments_go_when_the_last_sink_has_settled_them(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("file", "all"), segment_bytes=128 << 10) as spool:
            for i in range(20):
                await spool.append([part(records(100, i * 100, 200))])
            lane = spool.lanes["all"]
            before = len(lane.segments)
            await deliver(spool, "lake")
            await spool._works.janitor._make_room()
            assert len(lane.segments) == before
            await deliver(spool, "file")
            await until(lambda: len(lane.segments) == 1)
            assert lane.first == lane.segments[0].base > 0
            assert len(list((state / "lanes" / "all").glob("*.seg"))) == 1

    run(main)


def test_waiting_for_a_record_ends_when_it_is_durable(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            lane = spool.lanes["all"]
            waiting = asyncio.create_task(lane.wait(5))
            await spool.append([part(records(5))])
            assert not waiting.done()
            await spool.append([part(records(1))])
            await asyncio.wait_for(waiting, 5)
            await lane.wait(0)

    run(main)


def test_one_append_may_reach_several_lanes_and_is_done_when_all_are_durable(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("notes", "few")) as spool:
            await spool.append([part(records(10)), part(records(2), lane="few")])
            assert (spool.lanes["all"].head, spool.lanes["few"].head) == (10, 2)
            with pytest.raises(KeyError):
                spool.append([part(records(1), lane="nobody")])
            await spool.append([])
            await spool.append([part([])])
            await spool.flush()
            assert await spool.alive()

    run(main)


def test_many_appends_become_few_commits(state: Path) -> None:
    stats = Stats()

    async def main() -> None:
        async with opened(state, stats=stats) as spool:
            await asyncio.gather(*(spool.append([part(records(1, i))]) for i in range(2000)))
            assert await everything(spool.lanes["all"]) == (dict(enumerate(records(2000))), [])

    run(main)
    assert stats.counter("agent_spool_commits_total", "").value < 400


def test_more_frames_than_one_write_takes_are_written_in_several(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            # Each of another origin, so that none share a frame: over a thousand buffers.
            data = records(1500)
            await spool.append([part(data[i : i + 1], origin=f"o{i % 2}") for i in range(1500)])
            assert await everything(spool.lanes["all"]) == (dict(enumerate(data)), [])

    run(main)


def test_what_was_appended_last_is_durable_after_the_block(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            future = spool.append([part(records(500))])
        assert future.done()
        async with opened(state) as spool:
            assert spool.lanes["all"].head == 500

    run(main)


@pytest.mark.parametrize("durability", ["strict", "interval", "none"])
def test_every_durability_keeps_what_a_clean_stop_leaves(state: Path, durability: str) -> None:
    async def main() -> None:
        async with opened(state, durability=durability, interval=0.05, segment_bytes=128 << 10) as spool:
            for i in range(10):
                await spool.append([part(records(100, i * 100, 200))])
            await deliver(spool, most=350)
            cursor = spool.cursors("lake")[-1]
            cursor.plan(1, 350, 10, 77)
            await cursor.save()
        async with opened(state, durability=durability) as spool:
            cursor = spool.cursors("lake")[-1]
            assert (cursor.position, cursor.ledger.delivered, cursor.lane.head) == (350, 350, 1000)
            assert [(plan.first, plan.count, plan.crc) for plan in cursor.plans] == [(350, 10, 77)]
            found, gaps = await everything(cursor.lane, 350)
            assert (list(found.values()), gaps) == (records(1000, 0, 200)[350:], [])

    run(main)


def test_strict_syncs_before_it_acknowledges_and_none_never(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda fd, real=real: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))
        )

    async def main(durability: str, directory: Path) -> None:
        async with opened(directory, durability=durability) as spool:
            for i in range(3):
                synced.clear()
                await spool.append([part(records(1, i))])
                segments = [path for path in synced if path.endswith(".seg")]
                assert len(segments) == (durability == "strict")
                # The file's name is made durable before anything in it is acknowledged.
                assert (str(directory / "lanes" / "all") in synced) == (durability == "strict" and i == 0)

    run(lambda: main("strict", state / "strict"))
    run(lambda: main("none", state / "none"))


def test_only_one_agent_works_in_a_directory(state: Path) -> None:
    async def main() -> None:
        async with opened(state):
            with pytest.raises(StateLocked, match=f"process {os.getpid()}"):
                async with opened(state):
                    pass
        async with opened(state):
            pass

    run(main)


def test_a_newer_format_is_refused_by_name_and_untouched(state: Path) -> None:
    async def fill() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(10))])

    async def refuse() -> None:
        with pytest.raises(StateTooNew, match=r"format 2 by version 9\.0\.1.*version 1\.2\.3.*format 1"):
            async with opened(state):
                pass

    def shown() -> dict[str, tuple[bytes, int]]:
        return {
            str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
            for path in sorted(state.rglob("*"))
        }

    run(fill)
    (state / "format").write_text("2 9.0.1\n")
    before = shown()
    run(refuse)
    assert shown() == before


def test_files_are_for_their_owner_alone(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(10))])

    run(main)
    for path in [state, *state.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_the_instance_is_made_once(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            first = spool.instance
        async with opened(state) as spool:
            assert spool.instance == first
        assert len(first) == 16
        assert int(first, 16) >= 0

    run(main)


def test_a_path_that_is_no_directory_is_said_so(state: Path) -> None:
    state.write_text("here already")

    async def main() -> None:
        with pytest.raises(StateError, match="state"):
            async with opened(state):
                pass

    run(main)


def test_a_renamed_sink_goes_on_with_its_books(state: Path) -> None:
    async def main() -> None:
        async with opened(state, Reader("old", "all")) as spool:
            await spool.append([part(records(100))])
            await deliver(spool, "old", most=40)
        for _ in range(2):  # the option may stay in the file
            async with opened(state, Reader("new", "all", was="old")) as spool:
                (cursor,) = spool.cursors("new")
                assert (cursor.position, cursor.ledger.delivered, cursor.names) == (40, 40, ("old",))
        assert [path.name for path in (state / "lanes" / "all").glob("*.cursor")] == ["new.cursor"]

    run(main)


def test_a_sink_with_another_selection_drains_its_former_lane_first(state: Path) -> None:
    async def main() -> None:
        async with opened(state, Reader("lake", "one"), Reader("file", "one")) as spool:
            await spool.append([part(records(100), lane="one")])
        both = (Reader("lake", "two"), Reader("file", "one"))
        async with opened(state, *both) as spool:
            await spool.append([part(records(10), lane="two"), part(records(10, 100), lane="one")])
            former, own = spool.cursors("lake")
            assert (former.lane.name, former.end, own.lane.name, own.end) == ("one", 100, "two", None)
        async with opened(state, *both) as spool:
            former, own = spool.cursors("lake")
            assert former.end == 100  # not what came since
            former.book(90, State.DELIVERED)
            former.book(10, State.DEAD)
            await spool.close_cursor(former)
            assert spool.cursors("lake") == [own]
            assert own.inherited_dead == 10
            assert (state / "lanes" / "one" / "file.cursor").exists()
        async with opened(state, Reader("lake", "two"), Reader("file", "two")) as spool:
            former, own = spool.cursors("file")
            former.book(110, State.DELIVERED)
            await spool.close_cursor(former)
            assert not (state / "lanes" / "one").exists()
            assert "one" not in spool.lanes
            assert own.start == 10  # not what the lane holds for others: it had its own through the former one

    run(main)


def test_a_sink_back_on_its_lane_does_not_get_what_it_had_through_another(state: Path) -> None:
    async def main() -> None:
        other = Reader("file", "one")
        async with opened(state, Reader("lake", "one"), other) as spool:
            await spool.append([part(records(10), lane="one")])
            await deliver(spool)
        async with opened(state, Reader("lake", "two"), other) as spool:
            await spool.append([part(records(5), lane="one"), part(records(5), lane="two")])
        async with opened(state, Reader("lake", "one"), other) as spool:
            former, own = spool.cursors("lake")
            assert (former.lane.name, former.end) == ("two", 5)
            assert (own.position, own.end, own.ledger.sum) == (15, None, 10)
            assert own.position - own.start == 10

    run(main)


def test_a_removed_sink_is_kept_a_while_and_then_abandoned(state: Path) -> None:
    async def main() -> None:
        gone = Reader("gone", "few")
        async with opened(state, LAKE, gone) as spool:
            await spool.append([part(records(100), lane="few")])
            await deliver(spool, "gone", most=30)
        async with opened(state, LAKE) as spool:
            await spool._works.janitor._tick()
            assert spool.lanes["few"].first == 0
        async with opened(state, LAKE, gone) as spool:
            (cursor,) = spool.cursors("gone")
            assert (cursor.position, cursor.retired_ms, cursor.end) == (30, None, None)
        async with opened(state, LAKE) as spool:
            pass
        async with opened(state, LAKE, retire_after=0) as spool:
            (cursor,) = spool._works.janitor.cursors["few"]
            await until(lambda: "few" not in spool.lanes)
            assert (cursor.ledger.delivered, cursor.ledger.abandoned) == (30, 70)
            await until(lambda: not (state / "lanes" / "few").exists())

    run(main)


def test_the_part_says_how_the_spool_fares(state: Path) -> None:
    health = Health()

    async def main() -> None:
        async with opened(state, health=health) as spool:
            part_of = health.part("spool", "writer")
            assert (part_of.state, spool.closed_reason) == ("up", None)
            await spool.append([part(records(1))])
            assert part_of.due < float("inf")

    run(main)
    assert health.part("spool", "writer").state == "stopped"


def test_a_writer_that_hangs_does_not_answer(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdatasync
    entered, released = threading.Event(), threading.Event()

    def hanging(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".seg"):
            entered.set()
            released.wait(20)
        real(fd)

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(1))])
            monkeypatch.setattr(os, "fdatasync", hanging)
            waiting = spool.append([part(records(1))])
            await until(entered.is_set)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(spool.alive(), 0.2)
            # Readers and cursors are not held up by it.
            assert await deliver(spool) == 1
            assert not waiting.done()
            released.set()
            assert await spool.alive()
            await waiting

    run(main)


def test_a_large_backlog_is_read_with_little_memory(state: Path) -> None:
    async def main() -> None:
        async with opened(state, durability="none", max_bytes=1 << 30, segment_bytes=4 << 20) as spool:
            data = records(500, size=250)
            for _ in range(300):
                await spool.append([part(data)])
            lane = spool.lanes["all"]
            assert lane.bytes > 35 << 20
            tracemalloc.start()
            try:
                at = 0
                while at < lane.head:
                    got = await lane.read(at, 500, 1 << 20)
                    assert isinstance(got, Run)
                    at = got.end
                assert tracemalloc.get_traced_memory()[1] < 2 << 20
            finally:
                tracemalloc.stop()

    run(main)
