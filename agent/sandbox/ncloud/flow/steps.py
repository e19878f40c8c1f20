"""The nodes of a workflow: one trigger, and the jobs behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.sandbox.ncloud.flow import conditions
from agent.sandbox.ncloud.flow.graph import connected
from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.flow.rules import Fields
from agent.sandbox.ncloud.state import State

_TYPES = ("TRIGGER", "JOB")
_RULES = ("RECURRING", "ONE_TIME", "NONE")


def read(state: State, nodes: Sequence[Any], *, draft: bool) -> list[dict[str, Any]]:
    """The nodes as they came. ProblemError where no workflow can be made of them; a draft need not be whole."""
    parents: dict[str, list[str]] = {}
    kinds: list[str] = []
    for position, node in enumerate(nodes):
        fields = Fields(node, f"nodes[{position}]")
        node_id, kind = fields.text("id"), fields.choice("type", _TYPES)
        fields.text("name")
        above = fields.array("parentNodeIds")
        if not all(isinstance(item, str) for item in above):
            raise bad_parameter(f"{fields.place('parentNodeIds')}: must be an array of strings.")
        if (kind == "TRIGGER") == bool(above):
            raise bad_parameter(f"{fields.place('parentNodeIds')}: a trigger has none, a job has some.")
        if node_id in parents:
            raise bad_parameter(f"{fields.place('id')}: {node_id} stands twice.")
        if not valid(state, node):
            raise bad_parameter(f"{fields.place('id')}: there is no {kind} of the id {node_id}.")
        if "triggerRule" in fields:
            fields.choice("triggerRule", _RULES)
        if "jobCondition" in fields or (state.settings.api == "2024" and kind == "JOB"):
            conditions.read(fields.table("jobCondition"), state.settings)
        parents[node_id] = above
        kinds.append(kind)
    connected(parents)
    if kinds.count("TRIGGER") > 1 or (not draft and set(kinds) != set(_TYPES)):
        raise bad_parameter("nodes: must be one TRIGGER and at least one JOB.")
    return list(nodes)


def valid(state: State, node: Mapping[str, Any]) -> bool:
    """Whether what a node points to is there."""
    return node["id"] in (state.flow.triggers if node["type"] == "TRIGGER" else state.flow.jobs)
