"""
What Data Flow's requests carry, checked before anything is sent: every mistake is told at once, each with its place.

Two generations of documents: "2024" is what those of 2023 to 2025 have in common (updateJob by PUT, `isTemp`, type
DATAFLOW), "2026" are those since September 2026 (updateJob by PATCH, types VISUAL and SCRIPT, no `isTemp`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from agent.errors import Problem
from agent.ncloud.account import Api
from agent.ncloud.data_flow.conditions import job_condition
from agent.ncloud.data_flow.nodes import job_nodes, workflow_nodes
from agent.ncloud.data_flow.rules import trigger_rule
from agent.ncloud.data_flow.shapes import (
    BOTH,
    NEW,
    OLD,
    BadBody,
    Check,
    Member,
    Reading,
    flag,
    one_of,
    plain,
    table,
    text,
    texts,
    whole,
)

Kind = Literal[
    "create_job",
    "update_job",
    "verify_job",
    "run_job",
    "configure_job",
    "create_workflow",
    "update_workflow",
    "trigger",
]


def _name(reading: Reading, place: str, value: object) -> None:
    # createJob: 3 to 100 characters, to 20 in the documents of 2023; the English page mistakes `_` for `-`.
    longest = 20 if reading.api == "2024" else 100
    said = f'a name of 3 to {longest} letters, digits, "_" and "-", the first of them a letter or "_"'
    text(said, rf"[A-Za-z_][A-Za-z0-9_-]{{2,{longest - 1}}}")(reading, place, value)


def _job_type(reading: Reading, place: str, value: object) -> None:
    one_of(*(("DATAFLOW",) if reading.api == "2024" else ("VISUAL", "SCRIPT")))(reading, place, value)


_NAME = Member(_name, BOTH)
_TEXT = Member(text("text", r"(?s).*"))
_IS_TEMP = Member(flag, OLD, OLD)
_JOB = {
    "name": _NAME,
    "type": Member(_job_type, NEW, NEW),
    "maxConcurrentRuns": Member(whole(1, 2**31 - 1), known=NEW),
    "jobCondition": Member(job_condition, known=NEW),
    "nodes": Member(job_nodes, OLD),
}
_JOB_UPDATE = {
    **_JOB,
    "name": Member(_name, OLD),
    "type": Member(_job_type, BOTH),
    "nodes": Member(job_nodes),
    "isTemp": _IS_TEMP,
}
_WORKFLOW = {"name": _NAME, "nodes": Member(workflow_nodes, BOTH)}


def _by_generation(old: Check, new: Check) -> Check:
    def check(reading: Reading, place: str, value: object) -> None:
        (old if reading.api == "2024" else new)(reading, place, value)

    return check


# The documents of 2026 have more members for a job (of a script) than could be read: what resembles none is passed.
_CHECKS: Mapping[Kind, Check] = {
    "create_job": _by_generation(table(_JOB), table(_JOB, rest="near")),
    "update_job": _by_generation(table(_JOB_UPDATE), table(_JOB_UPDATE, rest="near")),
    "verify_job": table({"name": _NAME, "nodes": Member(job_nodes, BOTH), "description": _TEXT}),
    "run_job": table({"jobCondition": Member(job_condition, OLD), "parameters": Member(texts, known=OLD)}),
    "configure_job": table({"jobCondition": Member(job_condition, BOTH)}),
    "create_workflow": table({**_WORKFLOW, "isTemp": _IS_TEMP}),
    "update_workflow": table({**_WORKFLOW, "isTemp": Member(flag, known=OLD)}),
    "trigger": table(
        {
            "name": _NAME,
            "type": Member(one_of("SCHEDULED", "EVENT", "NONE"), BOTH),
            "triggerRule": Member(trigger_rule, BOTH),
        }
    ),
}


def body_problems(kind: Kind, body: object, api: Api) -> list[Problem]:
    """Every mistake in what is to be sent, each with its place."""
    reading = Reading(api)
    plain(reading, "", body)
    if not reading.problems:
        _CHECKS[kind](reading, "", body)
    return reading.problems


def checked(kind: Kind, body: Any, api: Api) -> Any:
    """The body as it is. Raises BadBody with every mistake in it."""
    if problems := body_problems(kind, body, api):
        raise BadBody(problems)
    return body


def run_body(
    api: Api, condition: Mapping[str, Any] | None = None, parameters: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """What executeJob carries: in the documents of 2024 parameters stand beside the condition, since 2026 within it."""
    body: dict[str, Any] = {} if condition is None else {"jobCondition": dict(condition)}
    if parameters:
        holder = body if api == "2024" else body.setdefault("jobCondition", {})
        holder["parameters"] = {**holder.get("parameters", {}), **parameters}
    return body or None
