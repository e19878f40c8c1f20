"""kill -9 in the middle of it all: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from spooling import everything, opened, run

from agent.spool import audit

CHILD = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from spooling import deliver, opened, part

async def main():
    async with opened(Path(sys.argv[1]), durability=sys.argv[2], max_bytes=1 << 30, segment_bytes=256 << 10) as spool:
        async def write(worker):
            i = 0
            while True:
                data = [b'{"w":%d,"start":%d,"n":%d}' % (worker, int(sys.argv[4]), i + k) for k in range(20)]
                await spool.append([part(data)])
                # Straight to the descriptor: what is printed was acknowledged before the kill.
                sys.stdout.buffer.write(b"%d %d\\n" % (worker, i + 20)); sys.stdout.buffer.flush()
                i += 20
        async def send():
            while True:
                await deliver(spool, batch=50, most=200)
                await asyncio.sleep(0.005)
        await asyncio.gather(*(write(worker) for worker in range(4)), send())

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["strict", "interval"])
def test_kill_9_loses_nothing_acknowledged(state: Path, durability: str) -> None:
    acknowledged: dict[tuple[int, int], int] = {}  # worker and start -> how many
    for start in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(state), durability, str(Path(__file__).parent), str(start)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        seen = b""
        while seen.count(b"\n") < 40 + 37 * start:
            assert select.select([child.stdout], [], [], 20)[0], child.stderr.read()
            data = os.read(child.stdout.fileno(), 65536)
            assert data, child.stderr.read()
            seen += data
        child.send_signal(signal.SIGKILL)
        child.wait()
        seen += child.stdout.read()
        child.stdout.close()
        child.stderr.close()
        for worker, count in re.findall(rb"^(\d+) (\d+)\n", seen, re.MULTILINE):
            acknowledged[int(worker), start] = int(count)
        report = audit(state)
        assert report.balanced, report.findings

    async def main() -> None:
        async with opened(state, durability=durability, max_bytes=1 << 30) as spool:
            cursor = spool.cursors("lake")[-1]
            assert cursor.ledger.delivered == cursor.position > 0
            lane = cursor.lane
            found, gaps = await everything(lane, lane.first)
            assert gaps == []
            # Delivered ones may be gone; of every writer the rest is there without a hole, up to what was acknowledged.
            last: dict[tuple[int, int], int] = {}
            for record in found.values():
                worker, start, n = map(int, re.findall(rb"\d+", record))
                assert n == last.get((worker, start), n - 1) + 1
                last[worker, start] = n
            for key, count in acknowledged.items():
                if key[1] == 3:
                    assert last[key] >= count - 1

    run(main)
