"""`python -m agent.sandbox.ncloud --port 0 --journal FILE`: the stand-in as a process, which prints its address."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from agent.sandbox import child
from agent.sandbox.ncloud import Key, Sandbox


async def serve(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT."""
    opened = Sandbox.open(
        options.schema, keys=options.key, host=options.host, port=options.port, journal=options.journal, **settings
    )
    await child.serve(opened, lambda sandbox: [sandbox.url], parent=options.parent)


def key(text: str) -> Key:
    """An access key out of `ID:SECRET`."""
    name, _, secret = text.partition(":")
    if not name or not secret:
        raise argparse.ArgumentTypeError("expected ID:SECRET")
    return Key(name, secret)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m agent.sandbox.ncloud", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="::1 for IPv6")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--journal", type=Path, help="append what is asked, stored and discarded to this file")
    parser.add_argument("--key", type=key, action="append", default=[], metavar="ID:SECRET", help="a key that may call")
    parser.add_argument("--schema", type=json.loads, action="append", default=[], metavar="JSON", help="a schema's row")
    parser.add_argument("--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far its clock is ahead")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="see settings.py")
    parser.add_argument("--parent", action="store_true", help="end when stdin closes")
    options = parser.parse_args()
    asyncio.run(serve(options, {"clock_offset": options.clock_offset, **options.settings}))


if __name__ == "__main__":
    main()
