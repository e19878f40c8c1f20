"""What was written last is read from memory: the same bytes as from the disk, and never more than a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spooling import everything, opened, part, records, run, temporary

from agent.record import Run
from agent.spool import tail
from agent.spool.tail import Tail


def test_who_keeps_up_needs_no_file(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            for start in range(0, 1000, 100):
                await spool.append([part(records(100, start))])
            lane = spool.lanes["all"]
            aside = state / "aside"
            lane.directory.rename(aside)
            try:
                found, gaps = await everything(lane)
            finally:
                aside.rename(lane.directory)
            assert found == dict(enumerate(records(1000)))
            assert not gaps

    run(main)


def test_what_is_kept_is_bounded_whatever_is_written(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            for size in (100, 30_000, 200_000, 2 * tail.TAIL_BYTES, 50):
                for start in range(0, 60, 20):
                    await spool.append([part(records(20 if size < 100_000 else 2, start, size))])
                    kept = spool.lanes["all"].tail
                    assert sum(map(len, kept._frames.values())) == kept._bytes <= tail.TAIL_BYTES
            assert len(kept._frames) > 0

    run(main)


def test_the_oldest_goes_first() -> None:
    kept = Tail()
    size = tail.TAIL_BYTES // 4
    for offset in range(5):
        kept.add(7, offset, bytes([offset]) * size)
    assert kept.at(7, 0) is None
    assert [kept.at(7, offset) for offset in range(1, 5)] == [bytes([n]) * size for n in range(1, 5)]
    assert kept.at(8, 1) is None  # another segment's


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(1, 60), st.integers(20, 4000)), min_size=1, max_size=12),
    limit=st.sampled_from([0, 5_000, 70_000, tail.TAIL_BYTES]),
    reads=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 200), st.integers(1, 300_000)), min_size=1, max_size=12),
)
def test_memory_and_disk_say_the_same(
    groups: list[tuple[int, int]], limit: int, reads: list[tuple[float, int, int]]
) -> None:
    async def main(place: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tail, "TAIL_BYTES", limit)
            async with opened(place, segment_bytes=128 << 10, durability="none") as spool:
                for n, (count, size) in enumerate(groups):
                    await spool.append([part(records(count, 1000 * n, size))])
                lane = spool.lanes["all"]
                for where, most, size in reads:
                    at = int(where * (lane.head - 1))
                    kept, lane.tail = await lane.read(at, most, size), Tail()
                    read = await lane.read(at, most, size)
                    assert isinstance(read, Run)
                    assert read == kept

    with temporary() as directory:
        run(lambda: main(Path(directory) / "state"))
