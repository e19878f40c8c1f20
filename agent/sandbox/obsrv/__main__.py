"""`python -m agent.sandbox.obsrv --port 0 --journal FILE`: the stand-in as a process, which prints its address."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from agent.sandbox.obsrv import Dataset, Sandbox


async def serve(options: argparse.Namespace, datasets: list[Dataset]) -> None:
    """Serve until SIGTERM or SIGINT."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    if options.parent:  # whoever started it holds the other end of stdin; it ends with them
        loop.add_reader(sys.stdin.fileno(), done.set)
    opened = Sandbox.open(datasets, port=options.port, journal=options.journal, body_limit=options.body_limit)
    async with opened as sandbox:
        sys.stdout.write(f"{sandbox.url}\n")
        sys.stdout.flush()
        await done.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m agent.sandbox.obsrv", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--journal", type=Path, help="append what is accepted, stored and lost to this file")
    parser.add_argument("--dataset", action="append", default=[], metavar="ID", help="a live dataset with defaults")
    parser.add_argument("--datasets", type=Path, metavar="FILE", help="a JSON array of dataset rows")
    parser.add_argument("--body-limit", type=int, default=100 * 1024 * 1024, metavar="BYTES")
    parser.add_argument("--parent", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    datasets = [Dataset(id=name) for name in options.dataset]
    if options.datasets:
        datasets += [Dataset.of(row) for row in json.loads(options.datasets.read_text())]
    asyncio.run(serve(options, datasets))


if __name__ == "__main__":
    main()
