"""All that an account has in Data Flow, and how its executions go on with the far side's clock."""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.sandbox.ncloud.flow import executions
from agent.sandbox.ncloud.flow.executions import Execution, Outcome
from agent.sandbox.ncloud.flow.problems import missing
from agent.sandbox.ncloud.settings import End, Settings


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A job. Times in ms."""

    id: str
    name: str
    type: str = "SCRIPT"  # VISUAL or SCRIPT; DATAFLOW in 2024
    nodes: list[dict[str, Any]] = field(default_factory=list)
    condition: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    draft: bool = False
    most: int | None = None  # maxConcurrentRuns
    held: str | None = None  # a status it is to have whatever it does
    created: int = 0
    updated: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Trigger:
    """A trigger. Times in ms."""

    id: str
    name: str
    type: str = "NONE"
    rule: dict[str, Any] = field(default_factory=lambda: {"type": "NONE"})
    created: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Workflow:
    """A workflow. Times in ms."""

    id: str
    name: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    draft: bool = False
    created: int = 0
    updated: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A workflow on its way: which of its jobs have been started."""

    workflow: Workflow
    trigger: str
    nodes: list[dict[str, Any]]  # as they were when it was accepted
    begins: int
    started: dict[str, Execution] = field(default_factory=dict)


class Flow:
    """The account's jobs, triggers, workflows and executions, each in the order of its making."""

    def __init__(self, settings: Settings, clock: Callable[[], int], note: Callable[[Mapping[str, Any]], None]) -> None:
        self.jobs: dict[str, Job] = {}
        self.triggers: dict[str, Trigger] = {}
        self.workflows: dict[str, Workflow] = {}
        self.outcomes: list[Outcome] = []
        self._executions: dict[str, Execution] = {}
        self._runs: list[Run] = []
        self._settings, self._clock, self._note = settings, clock, note

    def fresh_id(self) -> str:
        """Six letters and digits, which say nothing of an order."""
        alphabet = string.ascii_letters + string.digits
        while (found := "".join(random.choices(alphabet, k=6))) in self._taken():
            continue
        return found

    def _taken(self) -> set[str]:
        return {*self.jobs, *self.triggers, *self.workflows, *self._executions}

    def job(self, job_id: str) -> Job:
        """ProblemError where there is none."""
        if job_id not in self.jobs:
            raise missing("JOB", jobId=job_id)
        return self.jobs[job_id]

    def trigger(self, trigger_id: str) -> Trigger:
        """ProblemError where there is none."""
        if trigger_id not in self.triggers:
            raise missing("TRIGGER", triggerId=trigger_id)
        return self.triggers[trigger_id]

    def workflow(self, workflow_id: str) -> Workflow:
        """ProblemError where there is none."""
        if workflow_id not in self.workflows:
            raise missing("WORKFLOW", workflowId=workflow_id)
        return self.workflows[workflow_id]

    def add_job(self, job_id: str = "", name: str = "job", **fields: Any) -> Job:
        """From outside, without the questions of createJob; `fields` are those of `Job`."""
        now = self._clock()
        job = Job(id=job_id or self.fresh_id(), name=name, **{"created": now, "updated": now, **fields})
        self.jobs[job.id] = job
        return job

    def add_trigger(self, trigger_id: str = "", name: str = "trigger", **fields: Any) -> Trigger:
        """From outside, without the questions of createTrigger; one that is pulled by hand unless told."""
        trigger = Trigger(id=trigger_id or self.fresh_id(), name=name, **{"created": self._clock(), **fields})
        self.triggers[trigger.id] = trigger
        return trigger

    def add_workflow(self, workflow_id: str = "", name: str = "workflow", *, trigger: str, jobs: list[str]) -> Workflow:
        """From outside: jobs one after the other behind a trigger."""
        now, above = self._clock(), trigger
        nodes = [{"id": trigger, "name": self.trigger(trigger).name, "type": "TRIGGER", "parentNodeIds": []}]
        for job_id in jobs:
            nodes.append({"id": job_id, "name": self.job(job_id).name, "type": "JOB", "parentNodeIds": [above]})
            above = job_id
        made = Workflow(id=workflow_id or self.fresh_id(), name=name, nodes=nodes, created=now, updated=now)
        self.workflows[made.id] = made
        return made

    def outcome(self, **how: Any) -> None:
        """How executions to come will go; see `Outcome`. What was said last of an execution holds."""
        self.outcomes.insert(0, Outcome(**how))

    def executions(self, job: str | None = None) -> list[Execution]:
        """In the order of their making, up to now."""
        self.settle()
        return [item for item in self._executions.values() if job in (None, item.job)]

    def execution(self, execution_id: str) -> Execution | None:
        """The one of that id."""
        self.settle()
        return self._executions.get(execution_id)

    def start(
        self,
        job: Job,
        condition: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        at: int | None = None,
        trigger: str | None = None,
        workflow: str | None = None,
    ) -> Execution:
        """Start a job, whatever it is doing; `at`: in ms, now unless told."""
        settings, created = self._settings, self._clock() if at is None else at
        how = next((item for item in self.outcomes if item.meets(job.id)), Outcome())
        if how.count is not None:
            how.count -= 1
        begins = created + int(1000 * (settings.executions_wait if how.wait is None else how.wait))
        made = Execution(
            id=self.fresh_id(),
            job=job.id,
            name=job.name,
            condition=condition or job.condition,
            parameters=parameters or {},
            created=created,
            begins=begins,
            ends=begins + int(1000 * (settings.executions_take if how.take is None else how.take)),
            end=how.end or settings.executions_end,
            trigger=trigger,
            workflow=workflow,
        )
        self._executions[made.id] = made
        self._tell(made, created)
        return made

    def accept(self, workflow: Workflow, trigger: str) -> None:
        """Run a workflow; its executions appear a little later."""
        begins = self._clock() + int(1000 * self._settings.runs_appear_after)
        self._runs.append(Run(workflow=workflow, trigger=trigger, nodes=list(workflow.nodes), begins=begins))

    def cut(self, execution_id: str, end: End) -> None:
        """End an execution that is under way, as somebody in the console might. KeyError."""
        self.settle()
        self._executions[execution_id].cut(end, self._clock())
        self.settle()

    def settle(self) -> None:
        """Do all that was due until now: the workflows' next jobs start, and the journal hears of what ended."""
        now = self._clock()
        for run in self._runs:
            while any(self._go_on(run, node, now) for node in run.nodes):
                continue
        for execution in self._executions.values():
            self._tell(execution, now)

    def _go_on(self, run: Run, node: Mapping[str, Any], now: int) -> bool:
        job = self.jobs.get(node["id"])
        if node["type"] != "JOB" or node["id"] in run.started or job is None:
            return False
        above = [run.started.get(parent) for parent in node["parentNodeIds"] if parent != run.trigger]
        due = run.begins
        for parent in above:
            if parent is None or not parent.over(now) or parent.end != "COMPLETED":
                return False
            due = max(due, parent.ends)
        if due > now:
            return False
        condition = {**job.condition, **(node.get("jobCondition") or {})}
        parameters = condition.get("parameters", {})
        run.started[job.id] = self.start(
            job, condition, parameters, at=due, trigger=run.trigger, workflow=run.workflow.id
        )
        return True

    def _tell(self, execution: Execution, now: int) -> None:
        status = execution.status(now)
        if status != execution.noted:
            execution.noted = status
            self._note(executions.told(execution, now))

    def report(self) -> dict[str, Any]:
        """How often each job ran, and how that ended."""
        found, now = self.executions(), self._clock()
        return {
            "executions": dict(Counter(item.job for item in found)),
            "ends": dict(Counter(item.status(now) for item in found)),
        }
