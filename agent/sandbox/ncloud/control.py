"""
The sandbox's own paths, for those who run it as a process.

    POST   /_sandbox/faults          {"fault": "gateway", "code": "410", "count": 3, ...}
    DELETE /_sandbox/faults          all is well again
    POST   /_sandbox/keys            {"id": "..", "secret": "..", "rights": ["send", "query", "schema"]}
    DELETE /_sandbox/keys/ID         that key is revoked
    POST   /_sandbox/schemas         a schema's row with its cw_key: added, or replaced
    POST   /_sandbox/settings        {"clock_offset": 600, ...}: see settings.py
    GET    /_sandbox/report          the books in short, as JSON
    GET    /_sandbox/stored/CW_KEY   the stored rows, one JSON object a line
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from agent.sandbox.ncloud.answers import Answer
from agent.sandbox.ncloud.gateway import RIGHTS, Key
from agent.sandbox.ncloud.schemas import Schema
from agent.sandbox.ncloud.state import State
from agent.sandbox.ncloud.troubles import BY_NAME


async def handle(state: State, request: web.BaseRequest) -> Answer:
    """Do what a request to one of these paths asks."""
    _, _, what, *rest = request.path.split("/")
    try:
        match request.method, what:
            case "POST", "faults" | "keys" | "schemas" | "settings":
                change(state, what, json.loads(await request.read()))
                return Answer(status=204)
            case "DELETE", "faults":
                state.faults.clear()
                return Answer(status=204)
            case "DELETE", "keys":
                state.keys.revoke("/".join(rest))
                return Answer(status=204)
            case "GET", "report":
                return Answer(body=json.dumps(state.ledger.report()).encode())
            case "GET", "stored":
                rows = state.ledger.rows("/".join(rest))
                told = ({"at": row.at, "target": row.target, **row.dimensions, **row.metrics} for row in rows)
                return Answer(body="".join(json.dumps(row) + "\n" for row in told).encode())
            case _:
                text = b"no such path; see agent/sandbox/ncloud/control.py\n"
                return Answer(status=404, body=text, content_type="text/plain")
    except (KeyError, TypeError, ValueError) as error:
        return Answer(status=400, body=f"not one of the {what}: {error!r}\n".encode(), content_type="text/plain")


def change(state: State, what: str, options: Any) -> None:
    """One fault, key, schema or setting. KeyError, TypeError or ValueError where it is none."""
    if not isinstance(options, dict):
        raise TypeError("an object is wanted")
    match what:
        case "faults":
            state.faults.add(BY_NAME[options.pop("fault")](**options))
        case "keys":
            state.keys.add(Key(options["id"], options["secret"], frozenset(options.get("rights", RIGHTS))))
        case "schemas":
            state.schemas.put(Schema.of(options, state.schemas.fresh_key()))
        case _:
            state.settings.change(options)
