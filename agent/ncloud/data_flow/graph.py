"""What can be wrong with the nodes of a job or a workflow as a graph: each names its parents by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from agent.errors import Problem
from agent.ncloud.data_flow.shapes import shown

Id = int | str


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its place among the others, its id, and its parents by their place in `parentNodeIds`."""

    place: str  # "nodes[2]"
    id: Id
    parents: Sequence[tuple[int, Id]]

    def parent_place(self, index: int) -> str:
        """Where a parent is named."""
        return f"{self.place}.parentNodeIds[{index}]"


def graph_problems(nodes: Sequence[Node]) -> list[Problem]:
    """Ids given twice, parents that are not there, and ways that lead back to where they began; every one of them."""
    problems = []
    known: dict[Id, Node] = {}
    for node in nodes:
        if node.id in known:
            text = f"is the id of {known[node.id].place}, too: expected one of its own, found {shown(node.id)}"
            problems.append(Problem(f"{node.place}.id", text))
        else:
            known[node.id] = node
    for node in nodes:
        for index, parent in node.parents:
            if parent not in known:
                there = ", ".join(shown(each) for each in list(known)[:8])
                text = f"expected the id of a node ({there}{', ...' if len(known) > 8 else ''}), found {shown(parent)}"
                problems.append(Problem(node.parent_place(index), text))
    return problems + _cycles(known)


def _cycles(known: dict[Id, Node]) -> list[Problem]:
    edges = {node.id: {parent for _, parent in node.parents if parent in known} for node in known.values()}
    order = {each: position for position, each in enumerate(known)}
    problems = []
    while True:
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            ring: list[Id] = error.args[1][:-1]  # each is a parent of the next, the last one of the first
            first = min(range(len(ring)), key=lambda position: order[ring[position]])
            ring = ring[first:] + ring[:first]
            node = known[ring[0]]
            index = next(index for index, parent in node.parents if parent == ring[-1])
            way = " -> ".join(shown(each) for each in [*ring, ring[0]])
            problems.append(Problem(node.parent_place(index), f"leads back to the node itself: {way}"))
            edges[ring[0]].discard(ring[-1])  # told: the next one, if there is one more
        else:
            return problems
