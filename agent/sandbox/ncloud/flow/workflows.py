"""The calls about workflows: their list, one of them, create, update, delete, run, and what ran."""

from __future__ import annotations

from typing import Any

from agent.sandbox.ncloud.answers import Answer, RefusedError, value
from agent.sandbox.ncloud.flow import dates, deleting, paging, rules, running, steps
from agent.sandbox.ncloud.flow.books import Workflow
from agent.sandbox.ncloud.flow.executions import Execution
from agent.sandbox.ncloud.flow.problems import bad_parameter, bad_state
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.state import Call, State


def listed(state: State, call: Call) -> Answer:
    """`getWorkflows`."""
    return paging.page(state, call, [_item(state, item) for item in state.flow.workflows.values()])


def one(state: State, call: Call) -> Answer:
    """`getWorkflowById`."""
    return value(_view(state, state.flow.workflow(call.ids["workflowId"])))


def create(state: State, call: Call) -> Answer:
    """`createWorkflow`. isTemp is required in 2024 and no field of it in 2026."""
    fields, settings = Fields(call.value), state.settings
    name = rules.name(fields, settings)
    if settings.api == "2026" and not settings.takes_is_temp and "isTemp" in fields:
        raise bad_parameter("isTemp: is no field of a workflow.")
    draft = fields.flag("isTemp") if settings.api == "2024" or "isTemp" in fields else False
    nodes = steps.read(state, fields.array("nodes"), draft=draft)
    made = Workflow(id=state.flow.fresh_id(), name=name, nodes=nodes, draft=draft)
    made.created = made.updated = call.now_ms
    state.flow.workflows[made.id] = made
    return value(_view(state, made), status=201, stored=True)


def update(state: State, call: Call) -> Answer:
    """`updateWorkflow`: the whole of its name and nodes."""
    workflow, fields = state.flow.workflow(call.ids["workflowId"]), Fields(call.value)
    name = rules.name(fields, state.settings)
    nodes = steps.read(state, fields.array("nodes"), draft=workflow.draft)
    _idle(state, workflow)
    workflow.name, workflow.nodes, workflow.updated = name, nodes, call.now_ms
    return value(_view(state, workflow), stored=True)


def delete(state: State, call: Call) -> Answer:
    """`deleteWorkflow`."""
    workflow = state.flow.workflow(call.ids["workflowId"])
    _idle(state, workflow)
    del state.flow.workflows[workflow.id]
    return deleting.done(state)


def execute(state: State, call: Call) -> Answer:
    """`executeWorkflow`: 202, which says that it was heard and nothing more."""
    if state.settings.api == "2024":  # added in 2026
        raise RefusedError("300", f"{call.entry.method} {call.entry.target}")
    workflow = state.flow.workflow(call.ids["workflowId"])
    named = f"{{workflowId={workflow.id}}}"
    if workflow.draft:
        raise bad_state(f"{named}: is a draft.")
    if gone := [node["id"] for node in workflow.nodes if not steps.valid(state, node)]:
        raise bad_state(f"{named}: {', '.join(gone)} is gone.")
    trigger = state.flow.trigger(next(node["id"] for node in workflow.nodes if node["type"] == "TRIGGER"))
    if trigger.type == "SCHEDULED":
        raise bad_state(f"{named}: its trigger is SCHEDULED, and must be NONE or EVENT.")
    state.flow.accept(workflow, trigger.id)
    said = {"workflowId": workflow.id, "triggerId": trigger.id, "status": "ACCEPTED"}
    return value(said, status=202, stored=True)


def ran(state: State, call: Call) -> Answer:
    """`getWorkflowExecutions`: its items have the fields of a job's execution; `filter` is a workflow's name."""
    workflow = state.flow.workflow(call.ids["workflowId"])
    found = _executions(state, workflow) if call.query.get("filter", "") in workflow.name else []
    return paging.page(state, call, [running.shown(state, item) for item in found])


def _executions(state: State, workflow: Workflow) -> list[Execution]:
    return [item for item in state.flow.executions() if item.workflow == workflow.id]


def _idle(state: State, workflow: Workflow) -> None:
    now = state.now_ms()
    if not state.settings.edits_running and not all(item.over(now) for item in _executions(state, workflow)):
        raise bad_state(f"{{workflowId={workflow.id}}}: is running.")


def _view(state: State, workflow: Workflow) -> dict[str, Any]:
    view: dict[str, Any] = {"workflowId": workflow.id, "name": workflow.name}
    view["nodes"] = [{**node, "isValid": steps.valid(state, node)} for node in workflow.nodes]
    view["createdDate"] = dates.said(workflow.created, state.settings)
    view["updatedDate"] = dates.said(workflow.updated, state.settings)
    return view | {"isTemp": workflow.draft}


def _item(state: State, workflow: Workflow) -> dict[str, Any]:
    last = max((item.created for item in _executions(state, workflow)), default=None)
    trigger = next((node["id"] for node in workflow.nodes if node["type"] == "TRIGGER"), "")
    rule = state.flow.triggers[trigger].rule["type"] if trigger in state.flow.triggers else None
    return _view(state, workflow) | {
        "lastExecutionDate": dates.said(last, state.settings),
        "triggerRuleType": rule,
        "resourceId": workflow.id,
        "disabled": "false",  # a String in the table, and not the Boolean that it is with jobs
    }
