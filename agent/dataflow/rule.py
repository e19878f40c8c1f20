"""One `[[dataflow]]` table: the options of a rule, and what can be wrong with them together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import Literal

from agent.schema import Duration, option
from agent.units import format_duration

NAME = re.compile(r"[a-z0-9_-]+")
# What Data Flow gives as ids, and what goes into a path of its interface without being escaped.
ID = re.compile(r"[A-Za-z0-9_-]+")
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
DAY = 86_400.0

Kind = Literal["job", "workflow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCondition:
    """How a job is run: `jobCondition` of Data Flow's createJobExecution."""

    num_worker: int | None = option("Workers.", None, default_text="the job's", low=2, high=10, example=2)
    timeout: Duration | None = option(
        "After how long Data Flow ends it, in whole minutes.",
        None,
        default_text="the job's",
        low=60.0,
        high=DAY,
        example="6h",
    )
    nrn: str | None = option(
        "The role it works in.", None, default_text="the job's", example="nrn:PUB:IAM::MEMBER:Role/UUID"
    )
    script_path: str | None = option("Where its script is.", None, default_text="the job's", example="bucket/scripts/")
    log_path: str | None = option(
        "Where its logs go.", None, default_text="the job's", example="bucket/sparkHistoryLogs/"
    )

    def problems(self) -> list[tuple[str, str]]:
        """Data Flow reckons in minutes."""
        if self.timeout is not None and self.timeout % 60:
            return [("timeout", f'expected whole minutes such as "6h", found "{format_duration(self.timeout)}"')]
        return []

    @property
    def body(self) -> dict[str, str | int]:
        """As Data Flow takes it."""
        given = {
            "numWorker": self.num_worker,
            "timeout": None if self.timeout is None else round(self.timeout / 60),
            "nrn": self.nrn,
            "scriptPath": self.script_path,
            "logPath": self.log_path,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    A rule that runs a job or a workflow of NAVER Data Flow over the objects that a sink has stored.

    Rules run only where `[agent]` has `role = "leader"`, with the account of `[ncloud]`.
    """

    name: str = option("The name of the rule, as log and status pages have it.", example="hourly-etl")
    sink: str = option(
        "The sink whose objects it is about: NAME of a sink of the type object_storage.", example="bucket"
    )
    job: str | None = option(
        "Id of the job to run.", None, default_text="give a job or a workflow", example="JOB-ID", in_example=True
    )
    workflow: str | None = option(
        "Id of the workflow to run. Its trigger has to be one that is started by hand or by an event.",
        None,
        default_text="give a job or a workflow",
        example="WORKFLOW-ID",
    )
    after_objects: int | None = option(
        "Run it once so many objects have been stored since its last run; one run for all of them, where there are "
        "more by then.",
        None,
        default_text="give one of after_objects, every and at",
        low=1,
        example=10,
        in_example=True,
    )
    every: Duration | None = option(
        "Run it at each full stretch of this length, counted in UTC: `1h` at each full hour. What falls into a time "
        "without an agent is made up for once.",
        None,
        default_text="give one of after_objects, every and at",
        low=1.0,
        high=7 * DAY,
        example="1h",
    )
    at: str | None = option(
        "Run it every day at this time of this machine's clock and zone. What falls into a time without an agent is "
        "made up for once.",
        None,
        default_text="give one of after_objects, every and at",
        example="02:30",
    )
    parameters: dict[str, str] = option(
        "Parameters that the job is given.", factory=dict, example={"prefix": "telemetry/"}
    )
    job_condition: JobCondition | None = option(
        'How the job is run; what is left out is as the job has it. With `api = "2024"` it needs nrn, script_path and '
        "log_path.",
        None,
    )
    max_runs_per_day: int = option(
        "Most runs of this rule within a day of this machine's clock and zone; what is due beyond it waits for the "
        "next day, as one run.",
        24,
        low=1,
        high=10_000,
    )
    poll: Duration = option("How often Data Flow is asked how a run fares.", 10.0, low=0.1, high=3600.0)
    timeout: Duration = option(
        "How long a run is followed. One that has no end by then is told of, and the next may begin.",
        DAY,
        low=1.0,
        high=30 * DAY,
    )
    settle: Duration = option(
        "How long Data Flow is asked, after a crash or a lost answer, for the run that may have been started, before "
        "it is started again.",
        60.0,
        low=0.1,
        high=3600.0,
    )

    @property
    def kind(self) -> Kind:
        """Whether it runs a job or a workflow."""
        return "workflow" if self.job is None else "job"

    @property
    def id(self) -> str:
        """The id of what it runs."""
        return self.job or self.workflow or ""

    @property
    def target(self) -> str:
        """What it runs, in words that Data Flow's executions are kept by: "job:ID", "workflow:ID"."""
        return f"{self.kind}:{self.id}"

    @property
    def clock(self) -> time | None:
        """The time of the day of `at`."""
        return None if self.at is None else time.fromisoformat(self.at)

    def problems(self) -> list[tuple[str, str]]:
        """What does not read as a name, an id or a time, and options that exclude each other."""
        listed: list[tuple[str, str]] = []
        if not NAME.fullmatch(self.name):
            listed.append(("name", f'expected a name made of a-z, 0-9, _ and -, found "{self.name}"'))
        for name in ("job", "workflow"):
            text = getattr(self, name)
            if text is not None and not ID.fullmatch(text):
                listed.append((name, f'expected the id of a {name}, made of letters, digits, _ and -, found "{text}"'))
        listed += self._one_of("job", "workflow")
        listed += self._one_of("after_objects", "every", "at")
        if self.at is not None and not CLOCK.fullmatch(self.at):
            listed.append(("at", f'expected a time of the day such as "02:30", found "{self.at}"'))
        if self.workflow is not None and self.job is None:
            for name in ("parameters", "job_condition"):
                if getattr(self, name):
                    listed.append((name, "a workflow is started without: its nodes have conditions of their own"))
        return listed

    def _one_of(self, *names: str) -> list[tuple[str, str]]:
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) == 1:
            return []
        if not given:
            return [(names[0], f"required, but missing: give {', '.join(names[:-1])} or {names[-1]}")]
        return [(name, f"excludes {given[0]}: give one of {', '.join(names)}") for name in given[1:]]
