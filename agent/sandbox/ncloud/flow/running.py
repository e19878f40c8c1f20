"""The calls about a job's executions: start one, their list, one of them."""

from __future__ import annotations

from agent.sandbox.ncloud.answers import Answer, value
from agent.sandbox.ncloud.flow import conditions, executions, jobs, paging
from agent.sandbox.ncloud.flow.executions import Execution
from agent.sandbox.ncloud.flow.problems import bad_state, missing
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.state import Call, State


def execute(state: State, call: Call) -> Answer:
    """`executeJob`. Its triggerId and workflowId are in the query, and jobCondition may be left out since 2026."""
    flow, settings = state.flow, state.settings
    job = flow.job(call.ids["jobId"])
    trigger, workflow = call.query.get("triggerId"), call.query.get("workflowId")
    if trigger is not None:
        flow.trigger(trigger)
    if workflow is not None:
        flow.workflow(workflow)
    fields = Fields({} if call.value is None else call.value)
    old = settings.api == "2024"
    condition = job.condition
    if old or "jobCondition" in fields:
        condition = conditions.read(fields.table("jobCondition"), settings, job.condition)
    parameters = condition.get("parameters", {})
    if old and "parameters" in fields:
        parameters = fields.texts("parameters")
    _runnable(state, call)
    made = flow.start(job, condition, parameters, trigger=trigger, workflow=workflow)
    return value(executions.created(made, settings, made.created), stored=True)


def listed(state: State, call: Call) -> Answer:
    """`getJobExecutions`."""
    job = state.flow.job(call.ids["jobId"])
    since = state.now_ms() - int(1000 * state.settings.executions_listed_after)
    found = [item for item in state.flow.executions(job.id) if item.created <= since]
    return paging.page(state, call, [shown(state, item) for item in found])


def one(state: State, call: Call) -> Answer:
    """`getJobExecutionById`."""
    job = state.flow.job(call.ids["jobId"])
    found = state.flow.execution(call.ids["executionId"])
    if found is None or found.job != job.id:
        raise missing("EXECUTION", jobId=job.id, executionId=call.ids["executionId"])
    return value(shown(state, found))


def shown(state: State, execution: Execution) -> dict[str, object]:
    """An execution as the lists have it."""
    trigger = state.flow.triggers.get(execution.trigger or "")
    return executions.view(execution, trigger.name if trigger else None, state.settings, state.now_ms())


def _runnable(state: State, call: Call) -> None:
    job = state.flow.job(call.ids["jobId"])
    status, running = jobs.status_of(state, job), jobs.underway(state, job)
    if status not in ("RUNNABLE", "RUNNING"):
        raise bad_state(f"{{jobId={job.id}}}: is {status}, and not RUNNABLE.")
    if job.most is not None and running >= job.most:
        raise bad_state(f"{{jobId={job.id}}}: {running} executions are running, and maxConcurrentRuns is {job.most}.")
