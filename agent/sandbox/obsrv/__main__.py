"""`python -m agent.sandbox.obsrv --port 0 --journal FILE`: the stand-in as a process, which prints its address."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from agent.sandbox import child
from agent.sandbox.obsrv import Dataset, Sandbox


async def serve(options: argparse.Namespace, datasets: list[Dataset]) -> None:
    """Serve until SIGTERM or SIGINT."""
    opened = Sandbox.open(datasets, port=options.port, journal=options.journal, body_limit=options.body_limit)
    await child.serve(opened, lambda sandbox: [sandbox.url], parent=options.parent)


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
