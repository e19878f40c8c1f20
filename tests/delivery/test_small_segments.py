"""A spool of small segments is drained as fast as the far side takes it: no batch grows beyond its segment."""

from __future__ import annotations

from pathlib import Path

from farside import Post, far_side
from rig import rig
from virtual import run, until

from agent.ports import Limits


def test_a_batch_that_cannot_grow_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            rig(tmp_path, change=lambda settings: settings.update(segment_bytes=4096)) as it,
            far_side() as far,
        ):
            for n in range(0, 200, 10):
                await it.put(range(n, n + 10), pad=300)
            segments = it.spool.lanes["all"].segments
            assert len(segments) > 10
            last = segments[-1].base
            delivery = it.delivery(Post(far.port, Limits(linger=600)))
            async with it.running(delivery):
                # All but the segment that is still written to, whose records may get company.
                await until(lambda: len(far.stored) >= last, within=60)
                assert sorted(far.stored) == list(range(len(far.stored)))
                assert len(far.stored) == last

    run(main())
