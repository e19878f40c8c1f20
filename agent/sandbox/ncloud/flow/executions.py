"""What ran. Each execution knows beforehand when it begins, when it ends and how: nobody has to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.sandbox.ncloud.flow import dates
from agent.sandbox.ncloud.settings import End, Settings

Status = Literal["READY", "RUNNING", "COMPLETED", "FAILED", "CANCELED"]


@dataclass(slots=True, kw_only=True, eq=False)
class Outcome:
    """How executions to come will go; what is None is as the settings have it."""

    job: str | None = None  # None: those of any job
    end: End | None = None
    wait: float | None = None  # seconds of READY
    take: float | None = None  # seconds of RUNNING
    count: int | None = None  # of so many executions; None: of all

    def meets(self, job: str) -> bool:
        """Whether it is the next execution of this job that it speaks of."""
        return self.job in (None, job) and self.count != 0


@dataclass(slots=True, kw_only=True, eq=False)
class Execution:
    """One run of one job. Times in ms of the far side's clock."""

    id: str
    job: str
    name: str  # of the job
    condition: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    created: int
    begins: int
    ends: int
    end: End
    trigger: str | None = None
    workflow: str | None = None
    noted: str = ""  # the last status that the journal has

    def status(self, now_ms: int) -> Status:
        """READY, then RUNNING, then its end. It is READY in the moment it is made, however short it is."""
        if now_ms <= self.created or now_ms < self.begins:
            return "READY"
        return "RUNNING" if now_ms < self.ends else self.end

    def over(self, now_ms: int) -> bool:
        """Whether it has ended, one way or another."""
        return self.status(now_ms) == self.end

    def cut(self, end: End, now_ms: int) -> None:
        """It ends now."""
        self.begins, self.ends, self.end = min(self.begins, now_ms), now_ms, end

    def begun(self, now_ms: int) -> int | None:
        """When it left READY, if it has."""
        return None if self.status(now_ms) == "READY" else max(self.created, self.begins)

    def ended(self, now_ms: int) -> int | None:
        """When it ended, if it has."""
        return self.ends if self.over(now_ms) else None

    def minutes(self, now_ms: int) -> int:
        """runningTime: whole minutes."""
        begun = self.begun(now_ms)
        return 0 if begun is None else max(0, min(now_ms, self.ends) - begun) // 60_000


def created(execution: Execution, settings: Settings, now_ms: int) -> dict[str, Any]:
    """The answer of executeJob."""
    return {
        "jobExecutionId": execution.id,
        "jobId": execution.job,
        "jobCondition": dict(execution.condition),
        "status": execution.status(now_ms),
        "startDate": dates.said(execution.begun(now_ms), settings),
        "createdDate": dates.said(execution.created, settings),
        "runningTime": execution.minutes(now_ms),
        "parsedParameters": dict(execution.parameters),
        "type": _type(execution),
    }


def view(execution: Execution, trigger_name: str | None, settings: Settings, now_ms: int) -> dict[str, Any]:
    """An item of getJobExecutions, and the answer of getJobExecutionById."""
    log = {"consoleLogPath": f"{execution.condition.get('logPath', '')}{execution.id}/console.log"}
    return {
        "jobExecutionId": execution.id,
        "jobId": execution.job,
        "jobName": execution.name,
        "jobCondition": {**execution.condition, **log},
        "status": execution.status(now_ms),
        "startDate": dates.said(execution.begun(now_ms), settings),
        "endDate": dates.said(execution.ended(now_ms), settings),
        "createdDate": dates.said(execution.created, settings),
        "triggerId": execution.trigger,
        "triggerName": trigger_name,
        "waitingTime": ((execution.begun(now_ms) or now_ms) - execution.created) // 60_000,
        "executorNum": execution.condition.get("numWorker"),
        "runningTime": execution.minutes(now_ms),
        "parsedParameters": dict(execution.parameters),
        "type": _type(execution),
    }


def told(execution: Execution, now_ms: int) -> dict[str, Any]:
    """What the books say of it."""
    ended = execution.ended(now_ms)
    return {
        "job": execution.job,
        "id": execution.id,
        "at": execution.created if ended is None else ended,
        "status": execution.status(now_ms),
        "workflow": execution.workflow,
    }


def _type(execution: Execution) -> str:
    return "JOB" if execution.workflow is None else "WORKFLOW"
