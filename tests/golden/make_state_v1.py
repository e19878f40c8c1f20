"""
Makes tests/data/state-v1: a state directory as an agent leaves it that is killed with batches in flight.

    python tests/golden/make_state_v1.py

It is made once for a format and kept: every later version must drain exactly what it holds
(test_golden_state.py). `expected.json` beside it says what that is. Making it anew is making another format.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import zlib
from pathlib import Path

from agent.record import batch_id
from agent.spool import Cursor, Kind, Part, Reader, Settings, Spool, State
from agent.stats import Health, Stats

HERE = Path(__file__).parent.parent / "data"
STATE, EXPECTED = HERE / "state-v1", HERE / "state-v1.json"

EARLY, LATE = 1_795_000_000_000, 1_795_000_060_000
# What `where` of the second sink in test_golden_state.py means (options.Selection.lane).
ALARMS_LANE = "sel-face28628bf3"


def record(n: int, topic: str = "plant/a/state") -> bytes:
    """One record as intake renders it."""
    return b'{"ts":%d,"source":"mqtt.plant","tags":{"host":"golden","topic":"%b"},"fields":{"uid":"%d"}}' % (
        EARLY + n,
        topic.encode(),
        n,
    )


async def plan(cursor: Cursor, first: int, count: int) -> str:
    """Name a batch as delivery does for a sink that sends records as they are; gives its id."""
    run = await cursor.lane.read(first, count, 1 << 20)
    crc = zlib.crc32(run.body)  # type: ignore[union-attr]
    segment = run.segment_id  # type: ignore[union-attr]
    cursor.plan(segment, first, count, crc)
    return batch_id(segment, first, count, crc)


async def make(folder: Path) -> dict[str, object]:
    """Fill a state directory, copy it while it is open, and say what must come out of the copy."""
    readers = [Reader("lake", "all"), Reader("alarms", ALARMS_LANE)]
    settings = Settings(directory=folder, max_bytes=8 << 20, min_free_bytes=0)
    part = Health().part("spool", "writer")
    async with Spool.open(settings, readers, version="0.1.0", part=part, stats=Stats()) as spool:
        (lake,), (alarms,) = spool.cursors("lake"), spool.cursors("alarms")
        numbers = range(100)
        packets = [n + 1 for n in numbers]
        await spool.append(
            [
                Part(
                    "all",
                    "plant",
                    [record(n) for n in numbers],
                    EARLY,
                    packets=packets,
                    hashes=[n * 7 for n in numbers],
                )
            ]
        )
        await spool.append([Part("all", "machine", [record(n) for n in range(100, 130)], LATE)])
        await spool.append([Part(ALARMS_LANE, "plant", [record(n, "plant/a/alarm") for n in range(500, 510)], LATE)])
        letter = {
            "id": None,
            "sink": "intake",
            "ts": LATE,
            "origin": "plant",
            "reason": "not JSON",
            "status": None,
            "answer": "",
            "payload": "{",
            "encoding": "utf8",
        }
        await spool.append([Part("dead", "plant", [json.dumps(letter).encode()], LATE, Kind.DEAD)])
        await plan(lake, 0, 20)
        planned = [await plan(lake, 20, 40), await plan(lake, 60, 15)]
        lake.settle(lake.plans[0], State.DELIVERED)
        lake.plans[1].state = State.MAYBE
        await lake.save()
        planned_alarms = [await plan(alarms, 0, 4)]
        await alarms.save()
        await asyncio.to_thread(shutil.copytree, folder, STATE)
    return {
        "lake": {"batches": planned, "numbers": list(range(20, 130)), "settled": 20},
        "alarms": {"batches": planned_alarms, "numbers": list(range(500, 510)), "settled": 0},
        "letters": 1,
    }


if __name__ == "__main__":
    shutil.rmtree(STATE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        EXPECTED.write_text(json.dumps(asyncio.run(make(Path(made) / "state")), indent=1) + "\n")
