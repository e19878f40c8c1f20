"""Bodies for Data Flow: what its documents show passes, and every mistake is told with its place before it is sent."""

from __future__ import annotations

from typing import Any

import pytest
from data_flow_samples import CONDITION, FILTER, NODES, NRN, SOURCE, START, STEP, TRIGGER
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ncloud.data_flow import BadBody, body_problems, run_body
from agent.ncloud.data_flow.bodies import Kind, checked

GOOD: list[tuple[str, Kind, Any]] = [
    ("2024", "create_job", {"name": "job001", "nodes": NODES}),
    ("2024", "update_job", {"name": "job001", "type": "DATAFLOW", "nodes": NODES, "isTemp": False}),
    ("2024", "run_job", {"jobCondition": {**CONDITION, "workerType": "DEFAULT"}, "parameters": {"day": "1"}}),
    ("2024", "configure_job", {"jobCondition": {**CONDITION, "timeout": 0}}),
    ("2024", "create_workflow", {"name": "flow1", "nodes": [START, STEP], "isTemp": False}),
    ("2024", "verify_job", {"name": "job001", "nodes": NODES, "description": ""}),
    ("2026", "create_job", {"name": "x" * 100, "type": "VISUAL", "nodes": NODES, "maxConcurrentRuns": 1}),
    ("2026", "create_job", {"name": "_job-1", "type": "SCRIPT", "pythonVersion": "3", "jobCondition": CONDITION}),
    ("2026", "update_job", {"type": "SCRIPT"}),
    ("2026", "run_job", {}),
    ("2026", "run_job", {"jobCondition": {"parameters": {"day": "1"}}}),
    ("2026", "configure_job", {"jobCondition": {"numWorker": 10}}),
    ("2026", "create_workflow", {"name": "flow1", "nodes": [START, {**STEP, "jobCondition": {}}]}),
    ("2026", "update_workflow", {"name": "flow1", "nodes": [START, STEP]}),
    ("2026", "verify_job", {"name": "job001", "nodes": [SOURCE]}),
    ("2026", "trigger", TRIGGER),
    ("2026", "trigger", {"name": "hand", "type": "NONE", "triggerRule": {"type": "NONE"}}),
    *(
        ("2026", "trigger", {**TRIGGER, "triggerRule": rule})
        for rule in (
            {"type": "RECURRING", "interval": "HOUR", "time": "00"},
            {"type": "RECURRING", "interval": "WEEK", "time": "23:59", "dayOfWeek": ["MONDAY", "SUNDAY"]},
            {"type": "RECURRING", "interval": "MONTH", "time": "00:00", "dateOfMonth": "-1"},
            {"type": "ONE_TIME", "executionDate": "2026-12-24T18:00:00+09:00"},
        )
    ),
]


@pytest.mark.parametrize(("api", "kind", "body"), GOOD)
def test_what_the_documents_show_passes_as_it_is(api: Any, kind: Kind, body: Any) -> None:
    assert body_problems(kind, body, api) == []
    assert checked(kind, body, api) is body


def job(**node: Any) -> dict[str, Any]:
    return {"name": "job001", "nodes": [{**SOURCE, **node}]}


def rule(**members: Any) -> dict[str, Any]:
    return {**TRIGGER, "triggerRule": {"type": "RECURRING", "interval": "DAY", "time": "10:00", **members}}


def condition(**members: Any) -> dict[str, Any]:
    return {"jobCondition": {**CONDITION, **members}}


BAD: list[tuple[str, Kind, Any, list[str]]] = [
    ("2024", "create_job", [], ["the body: expected an object, found a list"]),
    ("2024", "create_job", {}, ["name: is required, and missing", "nodes: is required, and missing"]),
    ("2024", "create_job", {"name": "job001", "nodes": []}, ["nodes: expected at least 1, found 0"]),
    ("2024", "create_job", {"name": "job001", "nodes": {}}, ["nodes: expected a list, found an object"]),
    ("2024", "verify_job", {**job(), "node": []}, ["node: no such field; did you mean nodes?"]),
    ("2024", "verify_job", {**job(), "zzz": 1}, ["zzz: no such field; expected name, nodes, description"]),
    ("2024", "verify_job", {**job(), "jobId": "a"}, ["jobId: is in answers alone: leave it out"]),
    *(
        (api, "verify_job", {**job(), "name": name}, [f'name: expected a name of 3 to {longest} letters, digits, "_"'])
        for api, longest, name in (
            ("2024", 20, "ab"),
            ("2024", 20, "x" * 21),
            ("2026", 100, "x" * 101),
            ("2026", 100, "-job"),
            ("2026", 100, "1job"),
            ("2026", 100, "my job"),
            ("2026", 100, "작업001"),
            ("2026", 100, "job001\n"),
            ("2026", 100, 17),
        )
    ),
    (
        "2024",
        "update_job",
        {"name": "job001", "type": "VISUAL"},
        ['type: expected one of DATAFLOW, found "VISUAL"', "isTemp: is required, and missing"],
    ),
    (
        "2026",
        "update_job",
        {"name": "job001", "type": "visual", "isTemp": True, "maxConcurrentRun": 1, "status": "RUNNABLE"},
        [
            'type: expected one of VISUAL, SCRIPT, found "visual"; did you mean VISUAL?',
            "isTemp: is in the documents of 2024 alone",
            "maxConcurrentRun: no such field; did you mean maxConcurrentRuns?",
            "status: is in answers alone: leave it out",
        ],
    ),
    (
        "2026",
        "create_workflow",
        {"name": "flow1", "nodes": [START, STEP], "isTemp": False},
        ['isTemp: is in the documents of 2024 alone: leave it out, or set api = "2024"'],
    ),
    (
        "2026",
        "update_job",
        {"type": "SCRIPT", "runCondition": {}},
        ["runCondition: is in answers alone: in requests it is jobCondition"],
    ),
    ("2026", "create_job", {"name": "job001"}, ["type: is required, and missing"]),
    (
        "2026",
        "create_job",
        {"name": "job001", "type": "SCRIPT", "maxConcurrentRuns": 0},
        ["maxConcurrentRuns: expected"],
    ),
    # jobCondition
    ("2024", "run_job", {}, ["jobCondition: is required, and missing"]),
    (
        "2024",
        "run_job",
        {"jobCondition": {"numWorker": 11, "timeout": 1441, "parameters": {}}},
        [
            "jobCondition.numWorker: expected a whole number of 2 to 10, found 11",
            "jobCondition.timeout: expected a whole number of 0 to 1440, found 1441",
            "jobCondition.parameters: is in the documents of 2026 alone",
            "jobCondition.nrn: is required, and missing",
            "jobCondition.scriptPath: is required, and missing",
            "jobCondition.logPath: is required, and missing",
        ],
    ),
    (
        "2026",
        "run_job",
        condition(numWorker=1),
        ["jobCondition.numWorker: expected a whole number of 2 to 10, found 1"],
    ),
    ("2026", "run_job", condition(numWorker=2.0), ["jobCondition.numWorker: expected a whole number"]),
    (
        "2026",
        "update_job",
        {"type": "SCRIPT", "maxConcurrentRuns": True},
        ["maxConcurrentRuns: expected a whole number"],
    ),
    ("2026", "run_job", condition(timeout=0), ["jobCondition.timeout: expected a whole number of 1 to 1440, found 0"]),
    (
        "2026",
        "run_job",
        condition(timeout="360"),
        ['jobCondition.timeout: expected a whole number of 1 to 1440, found "'],
    ),
    (
        "2026",
        "run_job",
        condition(workerType="DEFAULT"),
        ["jobCondition.workerType: is in the documents of 2024 alone"],
    ),
    ("2026", "run_job", {"parameters": {}}, ["parameters: is in the documents of 2024 alone"]),
    (
        "2026",
        "run_job",
        condition(parameters={"password": 4711, "day": "1"}),
        ["jobCondition.parameters.password: expected text, found int: put it into quotes"],
    ),
    ("2026", "configure_job", {}, ["jobCondition: is required, and missing"]),
    # nodes of a job
    ("2026", "verify_job", job(id="1"), ["nodes[0].id: expected a whole number of -9223372036854775808 to"]),
    ("2026", "verify_job", job(id=2**63), ["nodes[0].id: expected a number of 64 bits"]),
    ("2026", "verify_job", job(name=""), ['nodes[0].name: expected text, found ""']),
    ("2026", "verify_job", job(type="SOURCE_OBJ"), ["nodes[0].type: expected one of SOURCE_CATALOG"]),
    ("2026", "verify_job", job(type=["SOURCE_OBS"]), ["nodes[0].type: expected one of SOURCE_CATALOG"]),
    ("2026", "verify_job", job(type="TRANSFORM_DROP_NULL"), ["nodes[0].type: expected one of SOURCE_CATALOG"]),
    (
        "2026",
        "verify_job",
        job(regionNo=1),
        ['nodes[0].regionNo: expected the region\'s number as text, such as "1", found 1'],
    ),
    ("2026", "verify_job", job(dataType="XML"), ["nodes[0].dataType: expected one of JSON, CSV, PARQUET, NDJSON"]),
    ("2026", "verify_job", job(type="TARGET_OBS", dataType="NDJSON"), ["nodes[0].dataType: expected one of JSON, CSV"]),
    (
        "2026",
        "verify_job",
        job(fieldList=[{"name": "a", "type": "text"}]),
        ["nodes[0].fieldList[0].type: expected one of"],
    ),
    ("2026", "verify_job", job(bucket="x"), ["nodes[0].bucket: no such field; did you mean bucketName?"]),
    ("2026", "verify_job", job(parentNodeIds=[5]), ["nodes[0].parentNodeIds[0]: expected the id of a node (169777"]),
    ("2026", "verify_job", job(parentNodeIds=["5"]), ["nodes[0].parentNodeIds[0]: expected a whole number"]),
    (
        "2026",
        "verify_job",
        {"name": "job001", "nodes": [SOURCE, {"type": "TRANSFORM_SQL", "parentNodeId": []}, 5]},
        [
            "nodes[1].id: is required, and missing",
            "nodes[1].name: is required, and missing",
            "nodes[1].parentNodeIds: is required, and missing",
            "nodes[2]: expected an object, found 5",
        ],
    ),
    (
        "2026",
        "verify_job",
        {"name": "job001", "nodes": [SOURCE, {**FILTER, "filterConditionList": [{"name": "a", "operator": "="}]}]},
        [
            'nodes[1].filterConditionList[0].operator: expected one of EQ, NE, GT, LT, GTE, LTE, found "="',
            "nodes[1].filterConditionList[0].value: is required, and missing",
        ],
    ),
    ("2026", "verify_job", job(fieldList=float("nan")), ["nodes[0].fieldList: expected a number that JSON can hold"]),
    ("2026", "verify_job", job(prefix="\ud800"), ["nodes[0].prefix: expected text that UTF-8 can write"]),
    ("2026", "verify_job", job(prefix=b"x"), ["nodes[0].prefix: expected a value that JSON has, found bytes"]),
    # workflows
    ("2026", "update_workflow", {"name": "flow1", "nodes": []}, ["nodes: expected a node of type TRIGGER"]),
    (
        "2026",
        "update_workflow",
        {"name": "flow1", "nodes": [{**START, "isValid": True, "id": 7}, {**STEP, "parentNodeIds": []}]},
        [
            "nodes[0].id: expected the id of a trigger or a job, as text, found 7",
            "nodes[0].isValid: is in answers alone: leave it out",
            "nodes[1].parentNodeIds: expected the id of the trigger or of a job before it, found none",
        ],
    ),
    (
        "2026",
        "update_workflow",
        {"name": "flow1", "nodes": [START, {**STEP, "parentNodeIds": ["tr1", "job1", "job9"]}]},
        [
            'nodes[1].parentNodeIds[2]: expected the id of a node ("tr1", "job1"), found "job9"',
            'nodes[1].parentNodeIds[1]: leads back to the node itself: "job1" -> "job1"',
        ],
    ),
    (
        "2026",
        "update_workflow",
        {"name": "flow1", "nodes": [{**START, "parentNodeIds": ["job1"]}, STEP]},
        ["nodes[0].parentNodeIds: expected an empty list", "nodes[0].parentNodeIds[0]: leads back to the node itself"],
    ),
    (
        "2024",
        "create_workflow",
        {"name": "flow1", "nodes": [START, {**STEP, "jobCondition": {"nrn": NRN}}, {"id": "b", "type": "JOB"}]},
        [
            "nodes[1].jobCondition.scriptPath: is required, and missing",
            "nodes[1].jobCondition.logPath: is required, and missing",
            "nodes[2].name: is required, and missing",
            "nodes[2].parentNodeIds: is required, and missing",
            "nodes[2].jobCondition: is required, and missing",
            "isTemp: is required, and missing",
        ],
    ),
    # triggers
    ("2026", "trigger", {**TRIGGER, "type": "EVERY"}, ["type: expected one of SCHEDULED, EVENT, NONE"]),
    ("2026", "trigger", {**TRIGGER, "triggerRule": "DAY"}, ["triggerRule: expected an object"]),
    ("2026", "trigger", {**TRIGGER, "triggerRule": {}}, ["triggerRule.type: is required, and missing"]),
    (
        "2026",
        "trigger",
        {**TRIGGER, "triggerRule": {"type": "RECURRING"}},
        ["triggerRule.interval: is required with type RECURRING", "triggerRule.time: is required with type RECURRING"],
    ),
    ("2026", "trigger", rule(time="10"), ['triggerRule.time: expected a time of day such as "10:00", found "10"']),
    ("2026", "trigger", rule(time="24:00"), ["triggerRule.time: expected a time of day"]),
    ("2026", "trigger", rule(interval="HOUR"), ["triggerRule.time: expected the minute of the hour as text"]),
    ("2026", "trigger", rule(interval="WEEK"), ["triggerRule.dayOfWeek: is required with interval WEEK, and missing"]),
    ("2026", "trigger", rule(interval="WEEK", dayOfWeek=["MON"]), ["triggerRule.dayOfWeek[0]: expected one of MONDAY"]),
    ("2026", "trigger", rule(interval="MONTH"), ["triggerRule.dateOfMonth: is required with interval MONTH"]),
    ("2026", "trigger", rule(interval="MONTH", dateOfMonth="32"), ["triggerRule.dateOfMonth: expected a day as text"]),
    ("2026", "trigger", rule(interval="MONTH", dateOfMonth=1), ["triggerRule.dateOfMonth: expected a day as text"]),
    (
        "2026",
        "trigger",
        {**TRIGGER, "triggerRule": {"type": "ONE_TIME"}},
        ["triggerRule.executionDate: is required with"],
    ),
    (
        "2026",
        "trigger",
        {**TRIGGER, "triggerRule": {"type": "ONE_TIME", "executionDate": "tomorrow"}},
        ['triggerRule.executionDate: expected a date such as 2024-07-10T14:16:01+09:00, found "tomorrow"'],
    ),
]


@pytest.mark.parametrize(("api", "kind", "body", "mistakes"), BAD)
def test_every_mistake_is_told_with_its_place(api: Any, kind: Kind, body: Any, mistakes: list[str]) -> None:
    told = list(map(str, body_problems(kind, body, api)))
    assert len(told) == len(mistakes), told
    for line, begin in zip(told, mistakes, strict=True):
        assert line.startswith(begin)
        assert "4711" not in line
    with pytest.raises(BadBody) as refused:
        checked(kind, body, api)
    assert list(map(str, refused.value.problems)) == told


def test_a_body_nested_without_end_is_a_mistake_and_no_crash() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    (problem,) = body_problems("verify_job", job(fieldList=deep), "2026")
    assert problem.text == "is nested deeper than 64 levels"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "nodes", "id", "type", "parentNodeIds", "jobCondition", "x"]), inner)
    ),
    max_leaves=12,
)
KINDS: list[Kind] = ["create_job", "update_job", "run_job", "configure_job", "create_workflow", "trigger"]


@settings(max_examples=150, deadline=None)
@given(ANYTHING, st.sampled_from(KINDS), st.sampled_from(["2024", "2026"]), st.integers(0, 3))
def test_nothing_that_json_can_hold_breaks_the_check(anything: Any, kind: Kind, api: Any, where: int) -> None:
    places = (anything, {"name": "job001", "nodes": anything}, {"triggerRule": anything}, {"nodes": [anything, START]})
    for problem in body_problems(kind, places[where], api):
        assert problem.where
        assert problem.text


@pytest.mark.parametrize(
    ("api", "condition", "parameters", "body"),
    [
        ("2026", None, None, None),
        ("2026", {"numWorker": 2}, None, {"jobCondition": {"numWorker": 2}}),
        ("2026", {"numWorker": 2}, {"a": "1"}, {"jobCondition": {"numWorker": 2, "parameters": {"a": "1"}}}),
        ("2026", None, {"a": "1"}, {"jobCondition": {"parameters": {"a": "1"}}}),
        (
            "2026",
            {"parameters": {"a": "0", "b": "2"}},
            {"a": "1"},
            {"jobCondition": {"parameters": {"a": "1", "b": "2"}}},
        ),
        ("2024", {"numWorker": 2}, {"a": "1"}, {"jobCondition": {"numWorker": 2}, "parameters": {"a": "1"}}),
    ],
)
def test_parameters_stand_where_the_documents_have_them(api: Any, condition: Any, parameters: Any, body: Any) -> None:
    assert run_body(api, condition, parameters) == body
