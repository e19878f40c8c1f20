"""
The sandbox's own paths, for those who run it as a process.

    POST   /_sandbox/faults          {"fault": "gateway", "code": "410", "count": 3, ...}
    DELETE /_sandbox/faults          all is well again
    POST   /_sandbox/keys            {"id": "..", "secret": "..", "rights": ["send", "query", "schema"]}
    DELETE /_sandbox/keys/ID         that key is revoked
    POST   /_sandbox/schemas         a schema's row with its cw_key: added, or replaced
    POST   /_sandbox/settings        {"clock_offset": 600, ...}: see settings.py
    GET    /_sandbox/hits            how often the faults in force have struck
    GET    /_sandbox/report          the books in short, as JSON
    GET    /_sandbox/stored/CW_KEY   the stored rows, one JSON object a line
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from agent.sandbox import controlling
from agent.sandbox.ncloud.gateway import RIGHTS, Key
from agent.sandbox.ncloud.schemas import Schema
from agent.sandbox.ncloud.state import State
from agent.sandbox.ncloud.troubles import BY_NAME


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """Do what a request to one of these paths asks."""

    def fault(options: dict[str, Any]) -> None:
        state.faults.add(BY_NAME[options.pop("fault")](**options))

    def key(options: dict[str, Any]) -> None:
        state.keys.add(Key(options["id"], options["secret"], frozenset(options.get("rights", RIGHTS))))

    def stored(cw_key: str) -> list[dict[str, Any]]:
        rows = state.ledger.rows(cw_key)
        return [{"at": row.at, "target": row.target, **row.dimensions, **row.metrics} for row in rows]

    return await controlling.handle(
        request,
        changes={
            "faults": fault,
            "keys": key,
            "schemas": lambda row: state.schemas.put(Schema.of(row, state.schemas.fresh_key())),
            "settings": state.settings.change,
        },
        endings={"faults": lambda _: state.faults.clear(), "keys": state.keys.revoke},
        questions={"hits": lambda _: state.faults.hits, "report": lambda _: state.ledger.report(), "stored": stored},
    )
