"""What the tests of the spool share: opening one, filling one, reading all of a lane."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.record import Run
from agent.spool import Gap, Kind, Lane, Part, Reader, Settings, Spool, State
from agent.stats import Health, Stats

LAKE = Reader("lake", "all")


def memory() -> Path | None:
    """A directory in memory, where a sync costs nothing; None where there is none."""
    place = Path("/dev/shm")
    return place if os.access(place, os.W_OK) else None


def temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=memory(), prefix="spool-test-")


def settings(directory: Path, **changes: Any) -> Settings:
    return Settings(**{"directory": directory, "max_bytes": 64 << 20, "min_free_bytes": 0, **changes})


@asynccontextmanager
async def opened(
    directory: Path,
    *readers: Reader,
    stats: Stats | None = None,
    health: Health | None = None,
    progress: Callable[[str], None] | None = None,
    **changes: Any,
) -> AsyncIterator[Spool]:
    part = (health or Health()).part("spool", "writer")
    async with Spool.open(
        settings(directory, **changes),
        readers or (LAKE,),
        version="1.2.3",
        part=part,
        stats=stats or Stats(),
        progress=progress,
    ) as spool:
        yield spool


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def records(count: int, start: int = 0, size: int = 60) -> list[bytes]:
    """Records of about that size; exactly, where the number leaves room for padding."""
    bare = [b'{"n":%d,"pad":"' % (start + i) for i in range(count)]
    return [one + b"x" * (size - len(one) - 2) + b'"}' for one in bare]


def part(data: Sequence[bytes], lane: str = "all", origin: str = "plant", **more: Any) -> Part:
    return Part(lane, origin, data, **{"received_ms": now_ms(), **more})


def letter(identity: str | None, sink: str = "lake") -> bytes:
    shown = "null" if identity is None else f'"{identity}"'
    return f'{{"id":{shown},"sink":"{sink}","ts":{now_ms()},"payload":"{{}}"}}'.encode()


def dead(*letters: bytes) -> Part:
    return part(letters, lane="dead", kind=Kind.DEAD)


async def everything(lane: Lane, at: int = 0) -> tuple[dict[int, bytes], list[Gap]]:
    """All that can be read from `at` on: records by index, and the gaps."""
    found: dict[int, bytes] = {}
    gaps: list[Gap] = []
    while at < lane.head:
        read = await lane.read(at, 100, 1 << 20)
        if isinstance(read, Run):
            assert read.first == at
            assert read.body == b",".join(read.records())
            found.update(enumerate(read.records(), at))
            at = read.end
        else:
            assert isinstance(read, Gap), read
            assert read.first == at
            assert read.count > 0
            gaps.append(read)
            at += read.count
    assert await lane.read(lane.head, 100, 1 << 20) is None
    return found, gaps


async def deliver(spool: Spool, sink: str = "lake", *, batch: int = 100, most: int = 1 << 60) -> int:
    """Settle everything a sink has waiting, batch by batch, as delivery would; how many records."""
    done = 0
    cursor = spool.cursors(sink)[-1]
    for plan in cursor.plans:
        if not plan.state.settled:
            done += plan.count
            cursor.settle(plan, State.DELIVERED)
    while cursor.planned_end < cursor.lane.head and done < most:
        read = await cursor.lane.read(cursor.planned_end, min(batch, most - done), 1 << 20)
        if isinstance(read, Run):
            plan = cursor.plan(read.segment_id, read.first, read.count, 0)
            await cursor.save()
            cursor.settle(plan, State.DELIVERED)
            done += read.count
        else:
            assert isinstance(read, Gap)
            cursor.book(read.count, read.state)
    await cursor.save()
    return done


async def until(condition: Callable[[], Any], *, seconds: float = 10.0) -> None:
    """Wait for a condition, not for a time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(50):
            return await work()

    return asyncio.run(bounded())
