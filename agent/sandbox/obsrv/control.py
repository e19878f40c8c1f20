"""
The sandbox's own paths, for those who run it as a process.

    POST   /_sandbox/faults          {"fault": "unavailable", "seconds": 5, "retry_after": 1, ...}
    DELETE /_sandbox/faults          all is well again
    GET    /_sandbox/hits            how often the faults in force have struck
    GET    /_sandbox/report          the books in short, as JSON
    GET    /_sandbox/stored/DATASET  the stored ids, one a line
    POST   /_sandbox/datasets        a dataset's row: added, or replaced
    POST   /_sandbox/rbac            {"modulus": ..}: from now on tokens are asked for, signed by the key with that one
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from agent.sandbox import controlling, faults
from agent.sandbox.obsrv.datasets import Dataset
from agent.sandbox.obsrv.state import State
from agent.sandbox.obsrv.tokens import Key, Rbac


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """Do what a request to one of these paths asks."""

    def fault(options: dict[str, Any]) -> None:
        state.faults.add(faults.BY_NAME[options.pop("fault")](**options))

    def rbac(options: dict[str, Any]) -> None:
        state.rbac = Rbac(key=Key(int(options["modulus"]), 0))

    return await controlling.handle(
        request,
        changes={"faults": fault, "datasets": lambda row: state.catalogue.put(Dataset.of(row)), "rbac": rbac},
        endings={"faults": lambda _: state.faults.clear()},
        questions={
            "hits": lambda _: state.faults.hits,
            "report": lambda _: state.ledger.report(),
            "stored": lambda dataset: "".join(f"{item.id}\n" for item in state.ledger.stored(dataset)),
        },
    )
