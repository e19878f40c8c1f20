"""
The sandbox's own paths, for those who run it as a process; any of its three ports takes them.

    POST   /_sandbox/faults           {"fault": "over_limit", "at": "ingest", "count": 3, "retry_after": 1, ...}
    DELETE /_sandbox/faults           all is well again
    POST   /_sandbox/clock            {"offset": seconds}
    DELETE /_sandbox/tokens           every token is revoked; who asks gets a new one
    POST   /_sandbox/tokens           {"distrust": true}: refused, while Identity gives out the same
    POST   /_sandbox/keys             {"username": .., "api_key": .., "revoke": true, "enabled": true}
    GET    /_sandbox/report           the books in short, as JSON
    GET    /_sandbox/stored/TENANT    the stored documents, one JSON object a line; without TENANT, all
    GET    /_sandbox/busiest/TENANT   the most requests within any minute
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from agent.sandbox.rackspace import failing
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.state import State

_JSON = "application/json"


async def handle(state: State, request: web.BaseRequest) -> Answer:
    """Do what a request to one of these paths asks."""
    _, _, what, *rest = request.path.split("/")
    tenant = "/".join(rest) or None
    match request.method, what:
        case "POST", "faults" | "clock" | "tokens" | "keys":
            try:
                _CHANGES[what](state, json.loads(await request.read()))
            except (KeyError, TypeError, ValueError) as error:
                return Answer(400, f"not understood: {error!r}\n".encode(), "text/plain")
            return Answer(204)
        case "DELETE", "faults":
            for faults in state.faults.values():
                faults.clear()
            return Answer(204)
        case "DELETE", "tokens":
            state.tokens.revoke_all()
            return Answer(204)
        case "GET", "report":
            return Answer(200, json.dumps(state.ledger.report()).encode(), _JSON)
        case "GET", "stored":
            lines = "".join(f"{json.dumps(asdict(item))}\n" for item in state.ledger.events(tenant))
            return Answer(200, lines.encode(), "application/x-ndjson")
        case "GET", "busiest":
            return Answer(200, json.dumps(state.ledger.busiest(tenant)).encode(), _JSON)
        case _:
            return Answer(404, b"no such path; see agent/sandbox/rackspace/control.py\n", "text/plain")


def _fault(state: State, options: dict[str, Any]) -> None:
    state.faults[options.pop("at", "ingest")].add(failing.BY_NAME[options.pop("fault")](**options))


def _clock(state: State, options: dict[str, Any]) -> None:
    state.clock.offset = float(options["offset"])


def _tokens(state: State, options: dict[str, Any]) -> None:
    if options["distrust"]:
        state.tokens.distrust()


def _keys(state: State, options: dict[str, Any]) -> None:
    state.tokens.rotate(options["username"], options["api_key"], revoke=options.get("revoke", True))
    state.tokens.users[options["username"]].enabled = options.get("enabled", True)


_CHANGES: dict[str, Callable[[State, dict[str, Any]], None]] = {
    "faults": _fault,
    "clock": _clock,
    "tokens": _tokens,
    "keys": _keys,
}
