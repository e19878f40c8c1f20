"""
The sandbox's own paths, for those who run it as a process.

    POST   /_sandbox/faults          {"fault": "gateway", "code": "410", "count": 3, ...}
    DELETE /_sandbox/faults          all is well again
    POST   /_sandbox/keys            {"id": "..", "secret": "..", "rights": ["send", "dataflow", ..]}
    DELETE /_sandbox/keys/ID         that key is revoked
    POST   /_sandbox/schemas         a schema's row with its cw_key: added, or replaced
    POST   /_sandbox/settings        {"clock_offset": 600, ...}: see settings.py
    POST   /_sandbox/jobs            {"job_id": "J1", "name": "clean", "type": "SCRIPT", ...}: see Flow.add_job
    POST   /_sandbox/triggers        {"trigger_id": "T1", "name": "by-hand", ...}: see Flow.add_trigger
    POST   /_sandbox/workflows       {"workflow_id": "W1", "trigger": "T1", "jobs": ["J1", "J2"]}: one after the other
    POST   /_sandbox/outcomes        {"job": "J1", "end": "FAILED", "take": 0.5, "count": 1}: how executions will go
    POST   /_sandbox/started         {"job": "J1"}: somebody else starts it
    POST   /_sandbox/cut             {"execution": "..", "end": "CANCELED"}: that execution ends now
    GET    /_sandbox/executions/JOB  those of a job, or of all, one JSON object a line
    GET    /_sandbox/hits            how often the faults in force have struck
    GET    /_sandbox/report          the books in short, as JSON
    GET    /_sandbox/stored/CW_KEY   the stored rows, one JSON object a line
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from agent.sandbox import controlling
from agent.sandbox.ncloud.flow.executions import told
from agent.sandbox.ncloud.gateway import RIGHTS, Key
from agent.sandbox.ncloud.schemas import Schema
from agent.sandbox.ncloud.state import State
from agent.sandbox.ncloud.troubles import BY_NAME


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """Do what a request to one of these paths asks."""
    flow = state.flow

    def fault(options: dict[str, Any]) -> None:
        state.faults.add(BY_NAME[options.pop("fault")](**options))

    def key(options: dict[str, Any]) -> None:
        state.keys.add(Key(options["id"], options["secret"], frozenset(options.get("rights", RIGHTS))))

    def stored(cw_key: str) -> list[dict[str, Any]]:
        rows = state.ledger.rows(cw_key)
        return [{"at": row.at, "target": row.target, **row.dimensions, **row.metrics} for row in rows]

    def executions(job: str) -> list[dict[str, Any]]:
        return [told(item, state.now_ms()) for item in state.flow.executions(job or None)]

    return await controlling.handle(
        request,
        changes={
            "faults": fault,
            "keys": key,
            "schemas": lambda row: state.schemas.put(Schema.of(row, state.schemas.fresh_key())),
            "settings": state.settings.change,
            "jobs": lambda row: flow.add_job(**row),
            "triggers": lambda row: flow.add_trigger(**row),
            "workflows": lambda row: flow.add_workflow(**row),
            "outcomes": lambda how: flow.outcome(**how),
            "started": lambda row: flow.start(flow.jobs[row["job"]]),
            "cut": lambda row: flow.cut(row["execution"], row["end"]),
        },
        endings={"faults": lambda _: state.faults.clear(), "keys": state.keys.revoke},
        questions={
            "executions": executions,
            "hits": lambda _: state.faults.hits,
            "report": lambda _: state.ledger.report() | flow.report(),
            "stored": stored,
        },
    )
