"""The calls of Data Flow by path, as the list of operations has them; what it refuses itself is a problem document."""

from __future__ import annotations

from collections.abc import Mapping

from agent.sandbox.ncloud.answers import Answer, problem
from agent.sandbox.ncloud.flow import jobs, running, stats, triggers, workflows
from agent.sandbox.ncloud.flow.problems import ProblemError
from agent.sandbox.ncloud.state import Call, Handler, Routes, State

PREFIX = "/api/v1"
_CALLS: Mapping[tuple[str, str], Handler] = {
    ("GET", "/stats/executions"): stats.results,
    ("GET", "/stats/executions-interval"): stats.by_day,
    ("GET", "/stats/executions-times"): stats.times,
    ("GET", "/workflows"): workflows.listed,
    ("POST", "/workflows"): workflows.create,
    ("GET", "/workflows/{workflowId}"): workflows.one,
    ("PUT", "/workflows/{workflowId}"): workflows.update,
    ("DELETE", "/workflows/{workflowId}"): workflows.delete,
    ("GET", "/workflows/{workflowId}/executions"): workflows.ran,
    ("POST", "/workflows/{workflowId}/executions"): workflows.execute,
    ("GET", "/jobs"): jobs.listed,
    ("POST", "/jobs"): jobs.create,
    ("POST", "/jobs/verify"): jobs.verify,
    ("GET", "/jobs/{jobId}"): jobs.one,
    ("PUT", "/jobs/{jobId}"): jobs.update,
    ("PATCH", "/jobs/{jobId}"): jobs.update,
    ("DELETE", "/jobs/{jobId}"): jobs.delete,
    ("POST", "/jobs/{jobId}/executions"): running.execute,
    ("PUT", "/jobs/{jobId}/executions"): jobs.configure,
    ("GET", "/jobs/{jobId}/executions"): running.listed,
    ("GET", "/jobs/{jobId}/executions/{executionId}"): running.one,
    ("GET", "/triggers"): triggers.listed,
    ("POST", "/triggers"): triggers.create,
    ("GET", "/triggers/{triggerId}"): triggers.one,
    ("DELETE", "/triggers/{triggerId}"): triggers.delete,
}


def _answering(handler: Handler) -> Handler:
    def answer(state: State, call: Call) -> Answer:
        try:
            return handler(state, call)
        except ProblemError as error:
            path = call.entry.target.partition("?")[0]
            return problem(error.status, error.kind, error.detail, path, state.settings)

    return answer


ROUTES: Routes = {
    (method, f"{PREFIX}{path}"): ("dataflow", _answering(handler)) for (method, path), handler in _CALLS.items()
}
