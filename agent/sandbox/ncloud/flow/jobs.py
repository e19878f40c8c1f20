"""The calls about jobs: their list, one of them, create, update, delete, verify, and with what they run."""

from __future__ import annotations

from typing import Any

from agent.sandbox.ncloud.answers import Answer, RefusedError, value
from agent.sandbox.ncloud.flow import conditions, dates, deleting, graph, paging, rules
from agent.sandbox.ncloud.flow.books import Job
from agent.sandbox.ncloud.flow.problems import ProblemError, bad_parameter, bad_state
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.state import Call, State

STATUSES = ("RUNNABLE", "RUNNING", "DELETED", "UNKNOWN", "DRAFT", "STOPPED", "EDITING")
_TYPES = {"2024": ("DATAFLOW",), "2026": ("VISUAL", "SCRIPT")}
_MOST_RUNS = 1000  # no bound of maxConcurrentRuns is published


def listed(state: State, call: Call) -> Answer:
    """`getJobs`: `name` is looked for anywhere in the name, `status` is one of them."""
    wanted, status = call.query.get("name", ""), call.query.get("status")
    if status is not None and status not in STATUSES:
        raise bad_parameter(f"status: must be one of {', '.join(STATUSES)}.")
    found = [job for job in state.flow.jobs.values() if wanted in job.name]
    shown = [_item(state, job) for job in found if status in (None, status_of(state, job))]
    return paging.page(state, call, shown)


def one(state: State, call: Call) -> Answer:
    """`getJobById`."""
    return value(_view(state, state.flow.job(call.ids["jobId"])))


def create(state: State, call: Call) -> Answer:
    """`createJob`."""
    fields, old = Fields(call.value), state.settings.api == "2024"
    name = rules.name(fields, state.settings)
    kind = "DATAFLOW" if old else fields.choice("type", _TYPES["2026"])
    nodes = graph.job_nodes(fields.array("nodes") if old or "nodes" in fields else [], state.settings)
    job = Job(id=state.flow.fresh_id(), name=name, type=kind, nodes=nodes, condition=conditions.default(state.settings))
    job.description = fields.optional_text("description") or ""
    _rest(state, job, fields)
    job.created = job.updated = call.now_ms
    state.flow.jobs[job.id] = job
    return value(_view(state, job), status=201, stored=True)


def update(state: State, call: Call) -> Answer:
    """`updateJob`: PUT until 2026, PATCH since; the other one is no call at all."""
    settings, old = state.settings, state.settings.api == "2024"
    if (call.entry.method == "PUT") != old:
        raise RefusedError("300", f"{call.entry.method} {call.entry.target}")
    job = state.flow.job(call.ids["jobId"])
    fields = Fields(call.value)
    kind = fields.choice("type", _TYPES[settings.api])
    name = rules.name(fields, settings) if old or "name" in fields else job.name
    draft = fields.flag("isTemp") if old else False
    nodes = graph.job_nodes(fields.array("nodes"), settings) if "nodes" in fields else job.nodes
    idle(state, job)
    _rest(state, job, fields)
    job.name, job.type, job.nodes, job.draft, job.updated = name, kind, nodes, draft, call.now_ms
    return value(_view(state, job), stored=True)


def delete(state: State, call: Call) -> Answer:
    """`deleteJob`."""
    job = state.flow.job(call.ids["jobId"])
    idle(state, job)
    del state.flow.jobs[job.id]
    return deleting.done(state)


def verify(state: State, call: Call) -> Answer:
    """`verifyJob`: true, or what is wrong."""
    try:
        fields = Fields(call.value)
        rules.name(fields, state.settings)
        graph.job_nodes(fields.array("nodes"), state.settings)
    except ProblemError:
        if state.settings.verify_failure == "false":
            return value(False)
        raise
    return value(True)


def configure(state: State, call: Call) -> Answer:
    """`updateJobExecuteConfig`: in 2026, what is left out keeps its value."""
    job = state.flow.job(call.ids["jobId"])
    fields = Fields(call.value)
    base = job.condition if state.settings.api == "2026" else None
    job.condition = conditions.read(fields.table("jobCondition"), state.settings, base)
    job.updated = call.now_ms
    return value(_view(state, job), stored=True)


def status_of(state: State, job: Job) -> str:
    """What getJobs says of it."""
    if job.held is not None:
        return job.held
    if underway(state, job):
        return "RUNNING"
    return "DRAFT" if job.draft or (job.type != "SCRIPT" and not job.nodes) else "RUNNABLE"


def underway(state: State, job: Job) -> int:
    """How many of its executions have not ended."""
    now = state.now_ms()
    return sum(not execution.over(now) for execution in state.flow.executions(job.id))


def idle(state: State, job: Job) -> None:
    """ProblemError: bad-state where it runs and may not be touched then."""
    if not state.settings.edits_running and underway(state, job):
        raise bad_state(f"{{jobId={job.id}}}: is RUNNING.")


def _rest(state: State, job: Job, fields: Fields) -> None:
    """What createJob and updateJob of 2026 have besides."""
    if state.settings.api == "2024":
        return
    # Read first and kept afterwards: a refusal changes nothing.
    most = fields.whole("maxConcurrentRuns", 1, _MOST_RUNS) if "maxConcurrentRuns" in fields else job.most
    if "jobCondition" in fields:
        job.condition = conditions.read(fields.table("jobCondition"), state.settings, job.condition)
    job.most = most


def _view(state: State, job: Job) -> dict[str, Any]:
    view: dict[str, Any] = {"jobId": job.id, "name": job.name, "description": job.description, "type": job.type}
    view |= {"status": status_of(state, job), "nodes": job.nodes, "runCondition": job.condition}
    return view | ({} if job.most is None else {"maxConcurrentRuns": job.most}) | _times(state, job)


def _item(state: State, job: Job) -> dict[str, Any]:
    item = {"jobId": job.id, "name": job.name, "type": job.type, "status": status_of(state, job)}
    return item | _times(state, job) | {"resourceId": job.id, "disabled": False}


def _times(state: State, job: Job) -> dict[str, Any]:
    settings, found = state.settings, state.flow.executions(job.id)
    last = max(found, key=lambda execution: execution.created, default=None)
    return {
        "lastExecutionStatus": None if last is None else last.status(state.now_ms()),
        "createdDate": dates.said(job.created, settings),
        "updatedDate": dates.said(job.updated, settings),
        "lastExecutionDate": None if last is None else dates.said(last.created, settings),
    }
