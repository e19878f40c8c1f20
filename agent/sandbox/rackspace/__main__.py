"""
`python -m agent.sandbox.rackspace --port 0 --journal FILE`: the stand-in as a process.

It prints one line with its three addresses: ingest, query, Identity.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import get_args

from agent.sandbox import child
from agent.sandbox.rackspace import Sandbox, User
from agent.sandbox.rackspace.answers import Build
from agent.sandbox.rackspace.elasticsearch import Index, Mode


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    opened = Sandbox.open(
        hosted=options.hosted,
        users=[user(text) for text in options.user],
        host=options.host,
        ports=(options.port, options.query_port, options.identity_port),
        journal=options.journal,
        clock_offset=options.clock_offset,
        token_life=options.token_life,
        renew_within=options.renew_within,
        rate=options.rate,
        minute=options.minute,
        over_limit=options.over_limit,
        mode=options.mode,
        build=options.build,
        index=options.index,
        visible_after=options.visible_after,
        body_limit=options.body_limit,
        dated=not options.undated,
    )
    await child.serve(
        opened, lambda sandbox: [sandbox.url, sandbox.query_url, sandbox.identity_url], parent=options.parent
    )


def user(text: str) -> User:
    """NAME:KEY:TENANT[,TENANT…]"""
    username, api_key, tenants = text.split(":", 2)
    return User(username=username, api_key=api_key, tenants=tuple(tenants.split(",")))


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m agent.sandbox.rackspace", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1 or ::1")
    for name in ("--port", "--query-port", "--identity-port"):
        parser.add_argument(name, type=int, default=0, help="0: any free one")
    parser.add_argument("--journal", type=Path, help="append what is asked, stored and lost to this file")
    parser.add_argument("--hosted", action="store_true", help="ask for a token and keep to the rate")
    parser.add_argument("--user", action="append", default=[], metavar="NAME:KEY:TENANT", help="who may ask for one")
    parser.add_argument("--token-life", type=float, default=86400.0, metavar="SECONDS")
    parser.add_argument("--renew-within", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=1000, help="requests a minute and tenant")
    parser.add_argument("--minute", type=float, default=60.0, metavar="SECONDS", help="how long a minute is")
    parser.add_argument("--over-limit", type=int, choices=(413, 429), default=413)
    parser.add_argument("--mode", choices=get_args(Mode), default="naive", help="how the document is built")
    parser.add_argument("--build", choices=get_args(Build), default="2022-09", help="how a refusal is told")
    parser.add_argument("--index", choices=get_args(Index), default="keyword", help="how tags are indexed")
    parser.add_argument("--clock-offset", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--visible-after", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--body-limit", type=int, default=1_048_576, metavar="BYTES")
    parser.add_argument("--undated", action="store_true", help="answer without a Date")
    parser.add_argument("--parent", action="store_true", help="end when stdin closes")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
