"""Node graphs: those of a job, by ETLJobNode, and what both kinds must have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.settings import Settings

_SOURCES = ("SOURCE_CATALOG", "SOURCE_CDB_MYSQL", "SOURCE_CDB_POSTGRESQL", "SOURCE_OBS")
_TRANSFORMS = (
    *("TRANSFORM_DEFINE", "TRANSFORM_SELECT", "TRANSFORM_JOIN", "TRANSFORM_FILTER", "TRANSFORM_UNION"),
    *("TRANSFORM_AGGREGATE", "TRANSFORM_RENAME", "TRANSFORM_DROP_DUPLICATION", "TRANSFORM_FILL_MISSING_VALUES"),
    "TRANSFORM_SQL",
)
_OLD = ("TRANSFORM_DROP_NULL", "TRANSFORM_SPLIT_FIELD")
_TARGETS = ("TARGET_CDB_MYSQL", "TARGET_CDB_POSTGRESQL", "TARGET_OBS", "TARGET_CATALOG")
_FORMATS = {"SOURCE_OBS": ("JSON", "CSV", "PARQUET", "NDJSON"), "TARGET_OBS": ("JSON", "CSV", "PARQUET")}
_UPDATES = ("OVERWRITE", "APPEND", "IGNORE")
_LONGEST = 2**63 - 1  # their ids are Long


def job_nodes(nodes: Sequence[Any], settings: Settings) -> list[dict[str, Any]]:
    """The nodes of a job, as they came. ProblemError where they are not what a job can be made of."""
    types = (*_SOURCES, *_TRANSFORMS, *_TARGETS, *(_OLD if settings.api == "2024" else ()))
    parents: dict[int, list[int]] = {}
    for position, node in enumerate(nodes):
        fields = Fields(node, f"nodes[{position}]")
        node_id, kind = fields.whole("id", 0, _LONGEST), fields.choice("type", types)
        fields.text("name")
        above = fields.array("parentNodeIds")
        if not all(isinstance(item, int) and not isinstance(item, bool) for item in above):
            raise bad_parameter(f"{fields.place('parentNodeIds')}: must be an array of integers.")
        if (kind in _SOURCES) == bool(above):
            raise bad_parameter(f"{fields.place('parentNodeIds')}: a source has none, all others have some.")
        if node_id in parents:
            raise bad_parameter(f"{fields.place('id')}: {node_id} stands twice.")
        parents[node_id] = above
        _object_storage(fields, kind)
    connected(parents)
    return list(nodes)


def connected(parents: Mapping[Any, Sequence[Any]]) -> None:
    """Every parent is there, and none is below its own child. ProblemError."""
    for node_id, above in parents.items():
        for parent in above:
            if parent not in parents:
                raise bad_parameter(f"nodes: {parent}, which {node_id} has as a parent, is not among them.")
    try:
        TopologicalSorter(parents).prepare()
    except CycleError:
        raise bad_parameter("nodes: they go round in a circle.") from None


def _object_storage(fields: Fields, kind: str) -> None:
    if kind not in _FORMATS:
        return  # bodies of the others are not published in full
    for name in ("regionNo", "bucketName", "prefix"):
        fields.text(name)
    fields.choice("dataType", _FORMATS[kind])
    fields.array("fieldList")
    if kind == "TARGET_OBS" and "updateType" in fields:  # optional, as is coalesce
        fields.choice("updateType", _UPDATES)
