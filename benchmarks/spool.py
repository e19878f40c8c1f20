"""
What the spool costs, in µs of CPU a record: records of 250 bytes in batches of 500, without fsync.

    python benchmarks/spool.py [directory]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from agent.record import Run
from agent.spool import Part, Reader, Settings, Spool, State
from agent.stats import Health, Stats

RECORDS, BATCH, ROUNDS, TURNS = 250, 500, 400, 5
BUDGET = {"write": "0.3", "read": "0.1", "read, in a thread": "none", "settle": "0.01", "plan and save": "none"}


async def turn(directory: Path, durability: str) -> dict[str, float]:
    settings = Settings(directory=directory, durability=durability, max_bytes=1 << 30, min_free_bytes=0)
    prefix = b'{"ts":1790000000000,"source":"mqtt.plant","tags":{"site":"seoul"},"fields":{"note":"'
    record = prefix + b"x" * (RECORDS - len(prefix) - 3) + b'"}}'
    total = BATCH * ROUNDS
    spent: dict[str, float] = {}
    async with Spool.open(
        settings, [Reader("lake", "all")], version="bench", part=Health().part("spool", "writer"), stats=Stats()
    ) as spool:
        (cursor,) = spool.cursors("lake")
        start = time.process_time()
        for _ in range(ROUNDS):
            await spool.append([Part("all", "plant", [record] * BATCH, time.time_ns() // 1_000_000)])
        spent["write"] = (time.process_time() - start) / total * 1e6

        runs: list[tuple[int, int, int]] = []  # not the bodies: 50 MB of fresh pages would be measured
        at = 0
        start = time.process_time()
        while at < cursor.lane.head:
            run = cursor.lane.read_now(at, BATCH, 512 * 1024)
            assert isinstance(run, Run)
            runs.append((run.segment_id, run.first, run.count))
            at = run.end
        spent["read"] = (time.process_time() - start) / total * 1e6
        at = 0
        start = time.process_time()
        while at < cursor.lane.head:
            run = await cursor.lane.read(at, BATCH, 512 * 1024)
            assert isinstance(run, Run)
            at = run.end
        spent["read, in a thread"] = (time.process_time() - start) / total * 1e6

        saving = settling = 0.0
        for segment, first, count in runs:
            start = time.process_time()
            plan = cursor.plan(segment, first, count, 0)
            await cursor.save()
            middle = time.process_time()
            cursor.settle(plan, State.DELIVERED)
            settling += time.process_time() - middle
            saving += middle - start
        spent["settle"] = settling / total * 1e6
        spent["plan and save"] = saving / total * 1e6
    return spent


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    for durability in ("none", "strict"):
        turns = []
        for _ in range(TURNS):
            with tempfile.TemporaryDirectory(dir=place) as directory:
                turns.append(asyncio.run(turn(Path(directory) / "state", durability)))
        print(f"durability = {durability}: µs of CPU a record, median of {TURNS} (budget without fsync)")
        for name, budget in BUDGET.items():
            values = sorted(one[name] for one in turns)
            print(f"  {name:18}{values[TURNS // 2]:7.3f}  ({budget})")


if __name__ == "__main__":
    main()
