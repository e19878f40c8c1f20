"""
The typed client of Data Flow: a method for every operation, keyed on paths, since the documents' names moved.

Answers are given as they were decoded. What is asked again by itself after a failure, and what is not:

    GET, verifyJob      again: nothing changes
    PUT of a whole      again: the second does what the first did (updateWorkflow, updateJob of 2024)
    DELETE              again; that it is gone by then is the first one's success
    the rest            only where the request certainly did nothing: a second create makes a second job, a second
                        execute starts a second run, and a changed scriptPath moves the stored script
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from agent.errors import DeliveryError
from agent.ncloud.account import Api
from agent.ncloud.asking import BACKOFF, MOST, PATIENCE, Repeat, Say, Unreadable, asked, quiet
from agent.ncloud.data_flow.bodies import checked
from agent.ncloud.data_flow.dates import korean
from agent.ncloud.data_flow.paging import PAGE, Item, Pages, listed, pages
from agent.ncloud.data_flow.refusals import NOT_FOUND, Refused, is_doubtful, translated
from agent.ncloud.gateway import Gateway
from agent.ncloud.targets import segment, target
from agent.timing import Backoff

Query = Mapping[str, str | int | bool | None]

_ROOT = "/api/v1"


class DataFlow:
    """
    Data Flow, as one account sees it. `open_data_flow` makes it.

    Every method raises BadBody for a body with mistakes, which is not sent, Refused for what the service refused,
    Unreadable for an answer that is none of the documents', and otherwise the DeliveryError of `asked`.
    """

    def __init__(
        self,
        gateway: Gateway,
        api: Api = "2026",
        say: Say = quiet,
        *,
        patience: float = PATIENCE,
        backoff: Backoff = BACKOFF,
        most: int = MOST,
    ) -> None:
        self.api = api
        self.say = say
        self._gateway = gateway
        self._patience = patience
        self._backoff = backoff
        self._most = most

    def now_ms(self) -> int:
        """Data Flow's clock, as far as it is known: epoch milliseconds."""
        return self._gateway.clock.now_ms()

    async def results(self, start: datetime, end: datetime) -> dict[str, Any]:
        """How many executions there were, completed and failed (GET /stats/executions)."""
        return await self._stats("executions", start, end)

    async def counts(self, start: datetime, end: datetime) -> dict[str, Any]:
        """How many executions each day had, as {"result": [...]} (GET /stats/executions-interval)."""
        return await self._stats("executions-interval", start, end)

    async def times(self, start: datetime, end: datetime) -> dict[str, Any]:
        """Run times, as {"result": [{"time": ms, "value"}]} (GET /stats/executions-times)."""
        return await self._stats("executions-times", start, end)

    async def workflows(self) -> list[Item]:
        """All workflows."""
        return await listed(self._pages(f"{_ROOT}/workflows", "workflowId"))

    async def workflow(self, workflow_id: str) -> dict[str, Any]:
        """One workflow."""
        return await self._read(_path("workflows", workflow_id))

    async def create_workflow(self, body: Mapping[str, Any]) -> Any:
        """Make a workflow; gives it."""
        return await self._ask("POST", _path("workflows"), checked("create_workflow", body, self.api), repeat="unsafe")

    async def update_workflow(self, workflow_id: str, body: Mapping[str, Any]) -> Any:
        """Put another in its place; gives it."""
        value = checked("update_workflow", body, self.api)
        return await self._ask("PUT", _path("workflows", workflow_id), value, repeat="safe")

    async def delete_workflow(self, workflow_id: str) -> bool:
        """Remove a workflow."""
        return await self._delete(_path("workflows", workflow_id))

    async def workflow_executions(
        self, workflow_id: str, filter: str | None = None, limit: int | None = None
    ) -> list[Item]:
        """What ran of a workflow: its jobs' executions. `filter`: by name; `limit`: no more than so many."""
        return await listed(self.execution_pages("workflow", workflow_id, filter=filter, size=_size(limit)), limit)

    async def run_workflow(self, workflow_id: str) -> Any:
        """Start a workflow. The answer confirms the receipt and names no execution (executeWorkflow, 202)."""
        return await self._ask("POST", _path("workflows", workflow_id, "executions"), repeat="unsafe")

    async def jobs(self, name: str | None = None, status: str | None = None) -> list[Item]:
        """All jobs, or those of that name and in that state."""
        return await listed(self._pages(f"{_ROOT}/jobs", "jobId", {"name": name, "status": status}))

    async def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return await self._read(_path("jobs", job_id))

    async def create_job(self, body: Mapping[str, Any]) -> Any:
        """Make a job; gives it."""
        return await self._ask("POST", _path("jobs"), checked("create_job", body, self.api), repeat="unsafe")

    async def update_job(self, job_id: str, body: Mapping[str, Any]) -> Any:
        """Change a job: all of it in 2024, by PUT, and what the body names in 2026, by PATCH; gives it."""
        value, path = checked("update_job", body, self.api), _path("jobs", job_id)
        if self.api == "2024":
            return await self._ask("PUT", path, value, repeat="safe")
        return await self._ask("PATCH", path, value, repeat="unsafe")

    async def delete_job(self, job_id: str) -> bool:
        """Remove a job."""
        return await self._delete(_path("jobs", job_id))

    async def verify_job(self, body: Mapping[str, Any]) -> bool:
        """Whether Data Flow would take this for a job. It may also say by Refused that it would not."""
        value = checked("verify_job", body, self.api)
        return await self._ask("POST", _path("jobs", "verify"), value, repeat="safe") is not False

    async def job_executions(self, job_id: str, limit: int | None = None) -> list[Item]:
        """What ran of a job; `limit`: no more than so many."""
        return await listed(self.execution_pages("job", job_id, size=_size(limit)), limit)

    async def job_execution(self, job_id: str, execution_id: str) -> dict[str, Any]:
        """One execution of a job."""
        return await self._read(_path("jobs", job_id, "executions", execution_id))

    async def run_job(
        self,
        job_id: str,
        body: Mapping[str, Any] | None = None,
        trigger: str | None = None,
        workflow: str | None = None,
    ) -> Any:
        """
        Start a job; gives the execution. `following.started` is for whoever must not start it twice.

        Without a body it runs as it is configured; the documents of 2024 want its `jobCondition`.
        """
        value = checked("run_job", {} if body is None else body, self.api)
        path = _path("jobs", job_id, "executions")
        return await self._ask("POST", path, value, {"triggerId": trigger, "workflowId": workflow}, repeat="unsafe")

    async def configure_job(self, job_id: str, body: Mapping[str, Any]) -> Any:
        """Set with what a job runs (updateJobExecuteConfig); gives the job."""
        value = checked("configure_job", body, self.api)
        return await self._ask("PUT", _path("jobs", job_id, "executions"), value, repeat="unsafe")

    async def triggers(self, name: str | None = None) -> list[Item]:
        """All triggers, or those of that name."""
        return await listed(self._pages(f"{_ROOT}/triggers", "triggerId", {"name": name}))

    async def trigger(self, trigger_id: str) -> dict[str, Any]:
        """One trigger."""
        return await self._read(_path("triggers", trigger_id))

    async def create_trigger(self, body: Mapping[str, Any]) -> Any:
        """Make a trigger; gives it."""
        return await self._ask("POST", _path("triggers"), checked("trigger", body, self.api), repeat="unsafe")

    async def delete_trigger(self, trigger_id: str) -> bool:
        """Remove a trigger."""
        return await self._delete(_path("triggers", trigger_id))

    def execution_pages(
        self, kind: Literal["job", "workflow"], of: str, *, filter: str | None = None, size: int = PAGE
    ) -> Pages:
        """The executions of a job or a workflow, page by page, for whoever need not see all."""
        return self._pages(_path(f"{kind}s", of, "executions"), "jobExecutionId", {"filter": filter}, size)

    def _pages(self, path: str, key: str, query: Query | None = None, size: int = PAGE) -> Pages:
        async def page(number: int, limit: int) -> Any:
            return await self._ask("GET", path, None, {**(query or {}), "page": number, "limit": limit}, repeat="safe")

        return pages(page, key, size=size, say=self.say)

    async def _stats(self, what: str, start: datetime, end: datetime) -> dict[str, Any]:
        return await self._read(_path("stats", what), {"startDate": korean(start), "endDate": korean(end)})

    async def _read(self, path: str, query: Query | None = None) -> dict[str, Any]:
        answer = await self._ask("GET", path, None, query, repeat="safe")
        if not isinstance(answer, dict):
            raise Unreadable(f"GET {path}: expected an object, found {type(answer).__name__}")
        return answer

    async def _delete(self, path: str) -> bool:
        """True once it is gone; documented answers are `true` and nothing. Raises Refused for `false`."""
        try:
            answer = await self._ask("DELETE", path, repeat="unsafe")
        except DeliveryError as failure:
            if not is_doubtful(failure):
                raise
            self.say(f"{failure.reason}; asks again")
            try:
                answer = await self._ask("DELETE", path, repeat="safe")
            except Refused as refusal:
                if refusal.kind != NOT_FOUND:
                    raise
                return True  # the first one did it
        if answer is False:
            raise Refused(f"DELETE {path}: Data Flow answered false: it is not deleted", kind="")
        return True

    async def _ask(
        self, method: str, path: str, value: object = None, query: Query | None = None, *, repeat: Repeat
    ) -> Any:
        try:
            return await asked(
                self._gateway,
                method,
                target(path, query),
                value,
                repeat=repeat,
                patience=self._patience,
                say=self.say,
                backoff=self._backoff,
                most=self._most,
            )
        except DeliveryError as error:
            raise translated(error) from error


def _path(*parts: str) -> str:
    return "/".join((_ROOT, *map(segment, parts)))


def _size(limit: int | None) -> int:
    return PAGE if limit is None else max(1, min(limit, PAGE))
