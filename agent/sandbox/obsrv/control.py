"""
The sandbox's own paths, for those who run it as a process.

    POST   /_sandbox/faults          {"fault": "unavailable", "seconds": 5, "retry_after": 1, ...}
    DELETE /_sandbox/faults          all is well again
    GET    /_sandbox/report          the books in short, as JSON
    GET    /_sandbox/stored/DATASET  the stored ids, one a line
    POST   /_sandbox/datasets        a dataset's row: added, or replaced
"""

from __future__ import annotations

import json

from aiohttp import web

from agent.sandbox import faults
from agent.sandbox.obsrv.answers import Answer
from agent.sandbox.obsrv.datasets import Dataset
from agent.sandbox.obsrv.state import State


async def handle(state: State, request: web.BaseRequest) -> Answer:
    """Do what a request to one of these paths asks."""
    _, _, what, *rest = request.path.split("/")
    match request.method, what:
        case "POST", "faults":
            try:
                options = json.loads(await request.read())
                state.faults.add(faults.BY_NAME[options.pop("fault")](**options))
            except (KeyError, TypeError, ValueError) as error:
                return Answer(400, f"not a fault: {error!r}\n".encode(), "text/plain")
            return Answer(204)
        case "DELETE", "faults":
            state.faults.clear()
            return Answer(204)
        case "POST", "datasets":
            try:
                state.catalogue.put(Dataset.of(json.loads(await request.read())))
            except (KeyError, TypeError, ValueError) as error:
                return Answer(400, f"not a dataset: {error!r}\n".encode(), "text/plain")
            return Answer(204)
        case "GET", "report":
            return Answer(200, json.dumps(state.ledger.report()).encode())
        case "GET", "stored":
            lines = "".join(f"{item.id}\n" for item in state.ledger.stored("/".join(rest)))
            return Answer(200, lines.encode(), "text/plain; charset=utf-8")
        case _:
            return Answer(404, b"no such path; see agent/sandbox/obsrv/control.py\n", "text/plain")
