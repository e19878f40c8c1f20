"""
The nodes of a job ("ETLJobNode" and its pages) and of a workflow (createWorkflow), and the graphs that they are.

A job's nodes have numbers for ids, a workflow's have texts: the ids of the trigger and of the jobs that they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.ncloud.data_flow.conditions import job_condition
from agent.ncloud.data_flow.graph import Node, graph_problems
from agent.ncloud.data_flow.shapes import BOTH, OLD, Check, Member, Reading, Shape, list_of, one_of, table, text, whole

_SOURCES = ("SOURCE_CATALOG", "SOURCE_CDB_MYSQL", "SOURCE_CDB_POSTGRESQL", "SOURCE_OBS")
_TRANSFORMS = (
    "TRANSFORM_DEFINE",
    "TRANSFORM_SELECT",
    "TRANSFORM_JOIN",
    "TRANSFORM_FILTER",
    "TRANSFORM_UNION",
    "TRANSFORM_AGGREGATE",
    "TRANSFORM_RENAME",
    "TRANSFORM_DROP_DUPLICATION",
    "TRANSFORM_FILL_MISSING_VALUES",
    "TRANSFORM_SQL",
)
_OLD_TRANSFORMS = ("TRANSFORM_DROP_NULL", "TRANSFORM_SPLIT_FIELD")
_TARGETS = ("TARGET_CDB_MYSQL", "TARGET_CDB_POSTGRESQL", "TARGET_OBS", "TARGET_CATALOG")

_LONG = whole(-(2**63), 2**63 - 1)
_NAMED = Member(text(), BOTH)
_COMMON: Shape = {
    "id": Member(_LONG, BOTH),
    "name": _NAMED,
    "type": Member(one_of(*_SOURCES, *_TRANSFORMS, *_TARGETS, old=_OLD_TRANSFORMS), BOTH),
    "parentNodeIds": Member(list_of(_LONG), BOTH),
}

_FIELD_TYPES = (
    *("void", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "char", "varchar"),
    *("date", "datetime", "timestamp", "decimal", "binary", "timestampwithtimezone"),
    *("array", "map", "struct", "uniontype"),
)


def _field_type(reading: Reading, place: str, value: object) -> None:
    # The page lists them capitalised and writes them small in its samples; some take more, as decimal(10,2).
    word = value.partition("(")[0].partition("<")[0].strip().lower() if isinstance(value, str) else value
    if word not in _FIELD_TYPES:
        reading.mistyped(place, f"one of {', '.join(_FIELD_TYPES)}", value)


def _anything(reading: Reading, place: str, value: object) -> None:
    """What the page says nothing of is passed as it is."""


_FIELDS = Member(
    list_of(
        table({"name": _NAMED, "type": Member(_field_type, BOTH), "properties": Member(_anything)}),
    ),
    BOTH,
)
_OBJECT_STORAGE: Shape = {
    "regionNo": Member(text('the region\'s number as text, such as "1"', r"\d+"), BOTH),
    "bucketName": _NAMED,
    "prefix": _NAMED,
    "fieldList": _FIELDS,
}

# The types whose members are known; those of the others are passed as they are.
_BY_TYPE: Mapping[str, Shape] = {
    "SOURCE_OBS": {**_OBJECT_STORAGE, "dataType": Member(one_of("JSON", "CSV", "PARQUET", "NDJSON"), BOTH)},
    "TARGET_OBS": {
        **_OBJECT_STORAGE,
        "dataType": Member(one_of("JSON", "CSV", "PARQUET"), BOTH),
        "updateType": Member(one_of("OVERWRITE", "APPEND", "IGNORE")),
        "coalesce": Member(whole(1, 2**31 - 1)),
    },
    "TRANSFORM_FILTER": {
        "filterType": Member(one_of("HEAD", "AND", "OR"), BOTH),
        "filterConditionList": Member(
            list_of(
                table(
                    {
                        "name": _NAMED,
                        "operator": Member(one_of("EQ", "NE", "GT", "LT", "GTE", "LTE"), BOTH),
                        "value": Member(_anything, BOTH),
                    }
                )
            ),
            BOTH,
        ),
    },
}
_NODES: Mapping[str, Check] = {kind: table({**_COMMON, **shape}) for kind, shape in _BY_TYPE.items()}
_OTHER_NODE = table(_COMMON, rest="passed")


def _job_node(reading: Reading, place: str, value: object) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    check = _NODES.get(kind, _OTHER_NODE) if isinstance(kind, str) else _OTHER_NODE
    check(reading, place, value)


_job_nodes = list_of(_job_node, least=1)


def job_nodes(reading: Reading, place: str, value: object) -> None:
    """The nodes of a job."""
    _job_nodes(reading, place, value)
    reading.problems += graph_problems(_graph(place, value, int))


_CONDITIONED = Member(job_condition, OLD)
_WORKFLOW_COMMON: Shape = {
    "id": Member(text("the id of a trigger or a job, as text"), BOTH),
    "name": _NAMED,
    "type": Member(one_of("TRIGGER", "JOB"), BOTH),
    "parentNodeIds": Member(list_of(text("the id of a node, as text")), BOTH),
    "triggerRule": Member(one_of("RECURRING", "ONE_TIME", "NONE")),
    "jobCondition": Member(job_condition),
}
_WORKFLOW_NODE = table(_WORKFLOW_COMMON)
_WORKFLOW_JOB = table({**_WORKFLOW_COMMON, "jobCondition": _CONDITIONED})


def _workflow_node(reading: Reading, place: str, value: object) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    (_WORKFLOW_JOB if kind == "JOB" else _WORKFLOW_NODE)(reading, place, value)
    parents = value.get("parentNodeIds") if isinstance(value, dict) else None
    if kind == "TRIGGER" and parents:
        reading.mistyped(f"{place}.parentNodeIds", "an empty list, since a trigger stands at the beginning", parents)
    elif kind == "JOB" and parents == []:
        reading.bad(f"{place}.parentNodeIds", "expected the id of the trigger or of a job before it, found none")


_workflow_nodes = list_of(_workflow_node)


def workflow_nodes(reading: Reading, place: str, value: object) -> None:
    """The nodes of a workflow, one of which is its trigger."""
    _workflow_nodes(reading, place, value)
    reading.problems += graph_problems(_graph(place, value, str))
    kinds = [node.get("type") for node in value if isinstance(node, dict)] if isinstance(value, list) else None
    if kinds is not None and "TRIGGER" not in kinds:
        reading.bad(place, "expected a node of type TRIGGER, with which the workflow begins, found none")


def _graph(place: str, value: object, kind: type[int | str]) -> list[Node]:
    """The nodes that can be told apart; what is wrong with the others is told already."""
    nodes = []
    for index, node in enumerate(value if isinstance(value, list) else ()):
        if isinstance(node, dict) and _is(node.get("id"), kind):
            named = node.get("parentNodeIds")
            parents = [(at, one) for at, one in enumerate(named if isinstance(named, list) else ()) if _is(one, kind)]
            nodes.append(Node(f"{place}[{index}]", node["id"], parents))
    return nodes


def _is(value: object, kind: type[int | str]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
