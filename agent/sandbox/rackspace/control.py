"""
The sandbox's own paths, for those who run it as a process; any of its three ports takes them.

    POST   /_sandbox/faults           {"fault": "over_limit", "at": "ingest", "count": 3, "retry_after": 1, ...}
    DELETE /_sandbox/faults           all is well again
    POST   /_sandbox/clock            {"offset": seconds}
    DELETE /_sandbox/tokens           every token is revoked; who asks gets a new one
    POST   /_sandbox/tokens           {"distrust": true}: refused, while Identity gives out the same
    POST   /_sandbox/keys             {"username": .., "api_key": .., "revoke": true, "enabled": true}
    GET    /_sandbox/hits             how often the faults in force have struck
    GET    /_sandbox/report           the books in short, as JSON
    GET    /_sandbox/stored/TENANT    the stored documents, one JSON object a line; without TENANT, all
    GET    /_sandbox/busiest/TENANT   the most requests within any minute
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aiohttp import web

from agent.sandbox import controlling
from agent.sandbox.rackspace import failing
from agent.sandbox.rackspace.state import State


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """Do what a request to one of these paths asks."""

    def fault(options: dict[str, Any]) -> None:
        state.faults[options.pop("at", "ingest")].add(failing.BY_NAME[options.pop("fault")](**options))

    def heal(_: str) -> None:
        for faults in state.faults.values():
            faults.clear()

    def clock(options: dict[str, Any]) -> None:
        state.clock.offset = float(options["offset"])

    def tokens(options: dict[str, Any]) -> None:
        if options["distrust"]:
            state.tokens.distrust()

    def keys(options: dict[str, Any]) -> None:
        state.tokens.rotate(options["username"], options["api_key"], revoke=options.get("revoke", True))
        state.tokens.users[options["username"]].enabled = options.get("enabled", True)

    return await controlling.handle(
        request,
        changes={"faults": fault, "clock": clock, "tokens": tokens, "keys": keys},
        endings={"faults": heal, "tokens": lambda _: state.tokens.revoke_all()},
        questions={
            "hits": lambda _: sum(faults.hits for faults in state.faults.values()),
            "report": lambda _: state.ledger.report(),
            "stored": lambda tenant: [asdict(item) for item in state.ledger.events(tenant or None)],
            "busiest": lambda tenant: state.ledger.busiest(tenant or None),
        },
    )
