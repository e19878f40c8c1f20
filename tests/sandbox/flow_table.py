"""
What is published of Data Flow's operations, as rows for its stand-in.

OPERATIONS: every operation with its method, path, status and the fields of its answer, by the page of each. REFUSALS:
what a page requires or bounds, broken once each, and the errorType that this has.

The account of all rows: jobs `clean` (J1, a script), `visual` (V1) and `draft` (D1), triggers `by-hand` (T1) and
`daily` (S1), workflows `nightly` (W1: T1, then J1) and `timed` (W2: S1, then J1).
"""

from __future__ import annotations

from typing import Any

SPAN = "startDate=2025-03-19T00:00:00&endDate=2025-03-20T23:59:59"
DAILY = {"type": "RECURRING", "interval": "DAY", "time": "10:00"}
CONDITION = {"nrn": "nrn:PUB:IAM::1:Role/a-b", "scriptPath": "bucket/scripts/", "logPath": "bucket/logs/"}
SOURCE: dict[str, Any] = {
    "id": 1710000000001,
    "name": "in",
    "type": "SOURCE_OBS",
    "parentNodeIds": [],
    "regionNo": "1",
    "bucketName": "bucket",
    "prefix": "in/",
    "dataType": "NDJSON",
    "fieldList": [{"name": "host", "type": "string"}],
}
SELECT = {"id": 1710000000002, "name": "some", "type": "TRANSFORM_SELECT", "parentNodeIds": [1710000000001]}
TARGET = SOURCE | {"id": 1710000000003, "name": "out", "type": "TARGET_OBS", "parentNodeIds": [1710000000002]}
TARGET |= {"dataType": "PARQUET", "updateType": "APPEND"}
NODES = [SOURCE, SELECT, TARGET]
START: dict[str, Any] = {"id": "T1", "name": "by-hand", "type": "TRIGGER", "parentNodeIds": []}
STEP: dict[str, Any] = {"id": "J1", "name": "clean", "type": "JOB", "parentNodeIds": ["T1"]}
STEPS: list[dict[str, Any]] = [START, STEP]
OLD_STEPS: list[dict[str, Any]] = [START, STEP | {"jobCondition": CONDITION}]

# The fields of the answers.
JOB = (
    "jobId name description type status nodes runCondition lastExecutionStatus createdDate updatedDate "
    "lastExecutionDate"
)
JOBS = "jobId name type status lastExecutionStatus createdDate updatedDate lastExecutionDate resourceId disabled"
STARTED = "jobExecutionId jobId jobCondition status startDate createdDate runningTime parsedParameters type"
EXECUTION = (
    "jobExecutionId jobId jobName jobCondition status startDate endDate createdDate triggerId triggerName waitingTime "
    "executorNum runningTime parsedParameters type"
)
WORKFLOW = "workflowId name nodes createdDate updatedDate isTemp"
WORKFLOWS = f"{WORKFLOW} lastExecutionDate triggerRuleType resourceId disabled"
TRIGGER = "triggerId name type triggerRule createdDate updatedDate"
SCRIPT = {"name": "job_1", "type": "SCRIPT"}
MANUAL = {"name": "trigger1", "type": "NONE", "triggerRule": {"type": "NONE"}}

# generation, method, path, body, status, what the answer has: the fields of an object, [those of a list's items], true.
OPERATIONS: list[tuple[str, str, str, Any, int, Any]] = [
    ("2026", "GET", f"/stats/executions?{SPAN}", None, 200, "totalCount completedCount failedCount"),
    ("2026", "GET", f"/stats/executions-interval?{SPAN}", None, 200, "result"),
    ("2026", "GET", f"/stats/executions-times?{SPAN}", None, 200, "result"),
    ("2026", "GET", "/workflows", None, 200, [WORKFLOWS]),
    ("2026", "GET", "/workflows/W1", None, 200, WORKFLOW),
    ("2026", "POST", "/workflows", {"name": "flow1", "nodes": STEPS}, 201, WORKFLOW),
    ("2024", "POST", "/workflows", {"name": "flow1", "nodes": OLD_STEPS, "isTemp": False}, 201, WORKFLOW),
    ("2026", "PUT", "/workflows/W1", {"name": "flow1", "nodes": STEPS}, 200, WORKFLOW),
    ("2026", "DELETE", "/workflows/W1", None, 200, True),
    ("2026", "GET", "/workflows/W1/executions", None, 200, [EXECUTION]),
    ("2026", "POST", "/workflows/W1/executions", None, 202, "workflowId triggerId status"),
    ("2026", "GET", "/jobs", None, 200, [JOBS]),
    ("2026", "GET", "/jobs/J1", None, 200, JOB),
    ("2026", "POST", "/jobs", SCRIPT, 201, JOB),
    ("2024", "POST", "/jobs", {"name": "job_1", "nodes": NODES}, 201, JOB),
    ("2026", "PATCH", "/jobs/J1", {"type": "SCRIPT"}, 200, JOB),
    ("2024", "PUT", "/jobs/J1", {"name": "job_1", "type": "DATAFLOW", "isTemp": False}, 200, JOB),
    ("2026", "DELETE", "/jobs/V1", None, 200, True),
    ("2026", "POST", "/jobs/verify", {"name": "job_1", "nodes": NODES}, 200, True),
    ("2026", "POST", "/jobs/J1/executions", None, 200, STARTED),
    ("2024", "POST", "/jobs/J1/executions", {"jobCondition": CONDITION}, 200, STARTED),
    ("2026", "GET", "/jobs/J1/executions", None, 200, [EXECUTION]),
    ("2026", "GET", "/jobs/J1/executions/{execution}", None, 200, EXECUTION),
    ("2026", "PUT", "/jobs/J1/executions", {"jobCondition": {"numWorker": 4}}, 200, JOB),
    ("2024", "PUT", "/jobs/J1/executions", {"jobCondition": CONDITION}, 200, JOB),
    ("2026", "GET", "/triggers", None, 200, [TRIGGER]),
    ("2026", "GET", "/triggers/T1", None, 200, TRIGGER),
    ("2026", "POST", "/triggers", MANUAL, 201, TRIGGER),
    ("2026", "DELETE", "/triggers/T1", None, 200, True),
]


def job(**changes: Any) -> dict[str, Any]:
    return {"name": "job_1", "type": "VISUAL", "nodes": NODES} | changes


def trigger(**rule: Any) -> dict[str, Any]:
    return {"name": "trigger1", "type": "SCHEDULED", "triggerRule": DAILY | rule}


def node(**changes: Any) -> dict[str, Any]:
    return job(nodes=[SOURCE | changes, SELECT, TARGET])


def condition(**changes: Any) -> dict[str, Any]:
    return {"jobCondition": CONDITION | changes}


def steps(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"name": "flow1", "nodes": list(nodes)}


PARAMETER, STATE = "bad-parameter", "bad-state"
# case, generation, method, path, body, errorType, what `detail` begins with
REFUSALS: list[tuple[str, str, str, str, Any, str, str]] = [
    ("no job", "2026", "GET", "/jobs/aa", None, "resource-not-found/JOB", "{jobId=aa}"),
    ("no job to run", "2026", "POST", "/jobs/aa/executions", None, "resource-not-found/JOB", "{jobId=aa}"),
    ("no execution", "2026", "GET", "/jobs/J1/executions/aa", None, "resource-not-found/EXECUTION", "{jobId=J1, exec"),
    ("another's", "2026", "GET", "/jobs/V1/executions/{execution}", None, "resource-not-found/EXECUTION", "{jobId=V1"),
    ("no workflow", "2026", "GET", "/workflows/aa", None, "resource-not-found/WORKFLOW", "{workflowId=aa}"),
    ("no workflow to run", "2026", "POST", "/workflows/aa/executions", None, "resource-not-found/WORKFLOW", "{workf"),
    ("no trigger", "2026", "DELETE", "/triggers/aa", None, "resource-not-found/TRIGGER", "{triggerId=aa}"),
    ("no JSON", "2026", "POST", "/jobs", b"{", PARAMETER, "the body"),
    ("no JSON where none is needed", "2026", "POST", "/jobs/J1/executions", b"{", PARAMETER, "the body"),
    ("no object", "2026", "POST", "/jobs", [], PARAMETER, "the body"),
    ("no name", "2026", "POST", "/jobs", {"type": "SCRIPT"}, PARAMETER, "name"),
    ("a short name", "2026", "POST", "/jobs", SCRIPT | {"name": "ab"}, PARAMETER, "name"),
    ("a long name", "2026", "POST", "/jobs", SCRIPT | {"name": "a" * 101}, PARAMETER, "name"),
    ("a name of 21", "2024", "POST", "/jobs", {"name": "a" * 21, "nodes": NODES}, PARAMETER, "name"),
    ("a name with a digit first", "2026", "POST", "/jobs", SCRIPT | {"name": "1abc"}, PARAMETER, "name"),
    ("a name that goes on", "2026", "POST", "/jobs", SCRIPT | {"name": "abc\n"}, PARAMETER, "name"),
    ("no type", "2026", "POST", "/jobs", {"name": "job_1"}, PARAMETER, "type"),
    ("the type of before", "2026", "POST", "/jobs", SCRIPT | {"type": "DATAFLOW"}, PARAMETER, "type"),
    ("no nodes", "2024", "POST", "/jobs", {"name": "job_1"}, PARAMETER, "nodes"),
    ("no runs at a time", "2026", "POST", "/jobs", SCRIPT | {"maxConcurrentRuns": 0}, PARAMETER, "maxConcurrentRuns"),
    ("an id as text", "2026", "POST", "/jobs", node(id="1"), PARAMETER, "nodes[0].id"),
    ("an unknown node", "2026", "POST", "/jobs", node(type="SOURCE_KAFKA"), PARAMETER, "nodes[0].type"),
    ("a node of before", "2026", "POST", "/jobs", node(type="TRANSFORM_DROP_NULL"), PARAMETER, "nodes[0].type"),
    ("a source with a parent", "2026", "POST", "/jobs", node(parentNodeIds=[1710000000003]), PARAMETER, "nodes[0].par"),
    ("no parents", "2026", "POST", "/jobs", node(parentNodeIds=None), PARAMETER, "nodes[0].parentNodeIds"),
    ("parents as text", "2026", "POST", "/jobs", node(parentNodeIds=["1"]), PARAMETER, "nodes[0].parentNodeIds"),
    ("a format it cannot read", "2026", "POST", "/jobs", node(dataType="XML"), PARAMETER, "nodes[0].dataType"),
    ("no bucket", "2026", "POST", "/jobs", node(bucketName=""), PARAMETER, "nodes[0].bucketName"),
    ("no field list", "2026", "POST", "/jobs", node(fieldList="*"), PARAMETER, "nodes[0].fieldList"),
    (
        "NDJSON out",
        "2026",
        "POST",
        "/jobs",
        job(nodes=[SOURCE, SELECT, TARGET | {"dataType": "NDJSON"}]),
        PARAMETER,
        "n",
    ),
    (
        "no update type",
        "2026",
        "POST",
        "/jobs",
        job(nodes=[SOURCE, SELECT, TARGET | {"updateType": 1}]),
        PARAMETER,
        "n",
    ),
    ("a parent that is not there", "2026", "POST", "/jobs", job(nodes=[SOURCE, TARGET]), PARAMETER, "nodes: 171"),
    ("an id twice", "2026", "POST", "/jobs", job(nodes=[SOURCE, SOURCE]), PARAMETER, "nodes[1].id"),
    (
        "round in a circle",
        *("2026", "POST", "/jobs/verify"),
        job(nodes=[SELECT | {"parentNodeIds": [1710000000003]}, TARGET]),
        *(PARAMETER, "nodes: they go round"),
    ),
    ("no name to verify", "2026", "POST", "/jobs/verify", {"nodes": NODES}, PARAMETER, "name"),
    ("too few workers", "2026", "PUT", "/jobs/J1/executions", condition(numWorker=1), PARAMETER, "jobCondition.numW"),
    ("too many workers", "2026", "PUT", "/jobs/J1/executions", condition(numWorker=11), PARAMETER, "jobCondition.numW"),
    ("true workers", "2026", "PUT", "/jobs/J1/executions", condition(numWorker=True), PARAMETER, "jobCondition.numW"),
    ("no time", "2026", "PUT", "/jobs/J1/executions", condition(timeout=0), PARAMETER, "jobCondition.timeout"),
    ("over a day", "2024", "PUT", "/jobs/J1/executions", condition(timeout=1441), PARAMETER, "jobCondition.timeout"),
    ("numbers for parameters", "2026", "PUT", "/jobs/J1/executions", condition(parameters={"a": 1}), PARAMETER, "job"),
    ("no condition", "2026", "PUT", "/jobs/J1/executions", {}, PARAMETER, "jobCondition: is required"),
    ("no condition to run with", "2024", "POST", "/jobs/J1/executions", {}, PARAMETER, "jobCondition: is required"),
    ("no role", "2024", "POST", "/jobs/J1/executions", condition(nrn=None), PARAMETER, "jobCondition.nrn: is required"),
    ("a draft to run", "2026", "POST", "/jobs/D1/executions", None, STATE, "{jobId=D1}: is DRAFT"),
    (
        "no such trigger",
        "2026",
        "POST",
        "/jobs/J1/executions?triggerId=aa",
        None,
        "resource-not-found/TRIGGER",
        "{trig",
    ),
    ("no such flow", "2026", "POST", "/jobs/J1/executions?workflowId=aa", None, "resource-not-found/WORKFLOW", "{work"),
    ("isTemp, which is gone", "2026", "POST", "/workflows", steps(*STEPS) | {"isTemp": False}, PARAMETER, "isTemp"),
    ("no isTemp", "2024", "POST", "/workflows", steps(*OLD_STEPS), PARAMETER, "isTemp: is required"),
    ("no isTemp for a job", "2024", "PUT", "/jobs/J1", {"name": "job_1", "type": "DATAFLOW"}, PARAMETER, "isTemp"),
    (
        "no trigger in it",
        "2026",
        "POST",
        "/workflows",
        steps(STEP | {"parentNodeIds": ["J1"]}),
        PARAMETER,
        "nodes: they",
    ),
    ("no job in it", "2026", "POST", "/workflows", steps(START), PARAMETER, "nodes: must be one TRIGGER"),
    (
        "two triggers",
        *("2026", "POST", "/workflows"),
        steps(*STEPS, START | {"id": "S1"}),
        *(PARAMETER, "nodes: must be one TRIGGER"),
    ),
    (
        "a job's id for a trigger",
        "2026",
        "POST",
        "/workflows",
        steps(START | {"id": "J1"}, STEP),
        PARAMETER,
        "nodes[0].id",
    ),
    (
        "a job that hangs",
        "2026",
        "POST",
        "/workflows",
        steps(START, STEP | {"parentNodeIds": []}),
        PARAMETER,
        "nodes[1].p",
    ),
    ("no condition in it", "2024", "PUT", "/workflows/W1", steps(*STEPS), PARAMETER, "nodes[1].jobCondition"),
    (
        "a workflow by the clock",
        "2026",
        "POST",
        "/workflows/W2/executions",
        None,
        STATE,
        "{workflowId=W2}: its trigger is",
    ),
    ("an event, before", "2024", "POST", "/triggers", MANUAL | {"type": "EVENT"}, PARAMETER, "type"),
    ("no rule", "2026", "POST", "/triggers", {"name": "trigger1", "type": "NONE"}, PARAMETER, "triggerRule"),
    ("a plan for none", "2026", "POST", "/triggers", trigger() | {"type": "NONE"}, PARAMETER, "triggerRule.type"),
    ("no interval", "2026", "POST", "/triggers", trigger(interval=None), PARAMETER, "triggerRule.interval"),
    ("no time", "2026", "POST", "/triggers", trigger(time=None), PARAMETER, "triggerRule.time"),
    ("no time of a day", "2026", "POST", "/triggers", trigger(time="24:00"), PARAMETER, "triggerRule.time"),
    ("no minute", "2026", "POST", "/triggers", trigger(interval="HOUR"), PARAMETER, "triggerRule.time"),
    (
        "no days",
        "2026",
        "POST",
        "/triggers",
        trigger(interval="WEEK", dayOfWeek=[]),
        PARAMETER,
        "triggerRule.dayOfWeek",
    ),
    (
        "no date",
        "2026",
        "POST",
        "/triggers",
        trigger(interval="MONTH", dateOfMonth="32"),
        PARAMETER,
        "triggerRule.date",
    ),
    ("no moment", "2026", "POST", "/triggers", trigger(type="ONE_TIME"), PARAMETER, "triggerRule.executionDate"),
    ("page -1", "2026", "GET", "/jobs?page=-1", None, PARAMETER, "page"),
    ("a limit of 0", "2026", "GET", "/triggers?limit=0", None, PARAMETER, "limit"),
    ("an unknown status", "2026", "GET", "/jobs?status=READY", None, PARAMETER, "status"),
    ("no start", "2026", "GET", "/stats/executions?endDate=2025-03-20T23:59:59", None, PARAMETER, "startDate"),
    (
        "a date alone",
        "2026",
        "GET",
        "/stats/executions-times?startDate=2025-03-19&endDate=2025",
        None,
        PARAMETER,
        "start",
    ),
    (
        "backwards",
        *("2026", "GET", "/stats/executions?startDate=2025-03-20T00:00:00&endDate=2025-03-19T00:00:00"),
        *(None, PARAMETER, "endDate"),
    ),
]
