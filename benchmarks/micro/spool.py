"""
What the spool costs: records of 250 bytes in batches of 500, without a sync and with one a batch.

    python -m benchmarks.micro.spool [FOLDER]

Beside it runs what no spool can do without: the same bytes appended to a plain file, read back from it, and
4 KiB written in place, which is what a cursor's file takes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from agent.record import Run
from agent.spool import Part, Reader, Settings, Spool, State
from agent.spool.settings import Durability
from agent.stats import Health, Stats
from benchmarks.micro.figures import Line, Spent, measured, shown

SIZE, BATCH, BATCHES = 250, 500, 400
TOTAL = BATCH * BATCHES
FIRST = 1_000_000_000  # a number that is as long as all that follow
READ_BYTES = 512 * 1024
SLOT_BYTES = 4096  # of a cursor's file

LINES: tuple[Line, ...] = (
    Line(step="write", beside="append to a file", target=0.3),
    Line(step="read", beside="read the file", target=0.1),
    Line(step="read, in a thread", beside="read the file"),
    Line(step="settle", target=0.01),
    Line(step="plan and save", beside="write in place"),
)


def records(count: int, size: int = SIZE) -> list[bytes]:
    """So many records of that size; no two are the same bytes in memory."""
    head = '{"ts":1790000000000,"source":"mqtt.plant","tags":{"site":"seoul"},"fields":{"seq":%d,"note":"'
    pad = "x" * (size - len(head % FIRST) - 3)
    return [f'{head % (FIRST + number)}{pad}"}}}}'.encode() for number in range(count)]


def run(folder: Path | None, durability: Durability, spent: Spent) -> None:
    """One round: the yardsticks, then the spool, each in a directory of its own."""
    # More than the processor's caches hold: as in life, a record is written once and was not touched just before.
    stock = [records(BATCH) for _ in range(BATCHES // 4)]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        _plain(Path(name), durability, stock, spent)
        asyncio.run(_spool(Path(name) / "state", durability, stock, spent))


def _plain(folder: Path, durability: Durability, stock: list[list[bytes]], spent: Spent) -> None:
    file = os.open(folder / "plain", os.O_RDWR | os.O_CREAT, 0o600)
    size = len(b",".join(stock[0]))
    with spent.on("append to a file", TOTAL):
        for number in range(BATCHES):
            os.write(file, b",".join(stock[number % len(stock)]))
            if durability == "strict":
                os.fdatasync(file)
    with spent.on("read the file", TOTAL):
        for number in range(BATCHES):
            os.pread(file, size, number * size)
    with spent.on("write in place", TOTAL):
        for _ in range(BATCHES):
            os.pwrite(file, bytes(SLOT_BYTES), 0)
            if durability == "strict":
                os.fdatasync(file)
    os.close(file)


async def _spool(directory: Path, durability: Durability, stock: list[list[bytes]], spent: Spent) -> None:
    settings = Settings(directory=directory, durability=durability, max_bytes=1 << 30, min_free_bytes=0)
    part = Health().part("spool", "writer")
    async with Spool.open(settings, [Reader("lake", "all")], version="bench", part=part, stats=Stats()) as spool:
        (cursor,) = spool.cursors("lake")
        with spent.on("write", TOTAL):
            for number in range(BATCHES):
                now = time.time_ns() // 1_000_000
                await spool.append([Part("all", "plant", stock[number % len(stock)], now)])

        runs: list[tuple[int, int, int]] = []  # not the bodies: 50 MB of fresh pages would be measured
        with spent.on("read", TOTAL):
            at = 0
            while at < cursor.lane.head:
                found = _whole(cursor.lane.read_now(at, BATCH, READ_BYTES))
                runs.append((found.segment_id, found.first, found.count))
                at = found.end
        with spent.on("read, in a thread", TOTAL):
            at = 0
            while at < cursor.lane.head:
                at = _whole(await cursor.lane.read(at, BATCH, READ_BYTES)).end

        settling = saving = 0
        for segment, first, count in runs:
            start = time.process_time_ns()
            plan = cursor.plan(segment, first, count, 0)
            await cursor.save()
            middle = time.process_time_ns()
            cursor.settle(plan, State.DELIVERED)
            settling += time.process_time_ns() - middle
            saving += middle - start
        spent.micros["settle"] = settling / 1e3 / TOTAL
        spent.micros["plan and save"] = saving / 1e3 / TOTAL


def _whole(found: object) -> Run:
    if not isinstance(found, Run):
        raise RuntimeError(f"the spool gave {found!r} back where a run of records was written")
    return found


def main(folder: Path | None = None) -> None:
    """Measure and print both tables."""
    shown(
        f"Spool, {SIZE} B, batches of {BATCH}, no sync",
        LINES,
        measured(lambda spent: run(folder, "none", spent)),
    )
    shown(
        f"Spool, {SIZE} B, batches of {BATCH}, a sync for each",
        # The targets are for the work alone: what a sync costs is the disk's doing.
        [replace(line, target=None) for line in LINES],
        measured(lambda spent: run(folder, "strict", spent)),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
