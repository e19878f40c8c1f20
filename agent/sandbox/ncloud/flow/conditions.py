"""jobCondition: with what a job runs. Its fields and bounds are those of executeJob and updateJobExecuteConfig."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.settings import Settings

_PATHS = ("nrn", "scriptPath", "logPath")


def default(settings: Settings) -> dict[str, Any]:
    """What holds where nothing is said."""
    worker = {"workerType": "DEFAULT"} if settings.api == "2024" else {}
    return {**worker, "numWorker": 2, "timeout": 360}


def read(value: object, settings: Settings, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A whole condition; what it leaves out is as in `base`. ProblemError."""
    fields = Fields(value, "jobCondition")
    old = settings.api == "2024"
    condition = {**default(settings), **(base or {})}
    if old and "workerType" in fields:
        condition["workerType"] = fields.choice("workerType", ("DEFAULT", "DATAFLOW"))
    if "numWorker" in fields:
        condition["numWorker"] = fields.whole("numWorker", 2, 10)
    if "timeout" in fields:
        condition["timeout"] = fields.whole("timeout", 0 if old else 1, 1440)
    for name in _PATHS:
        if old or name in fields:  # required in 2024, optional since
            condition[name] = fields.text(name)
    if not old and "parameters" in fields:
        condition["parameters"] = fields.texts("parameters")
    return condition
