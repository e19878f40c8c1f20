"""The nodes of a job or a workflow as a graph: every mistake is told, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ncloud.data_flow.graph import Node, graph_problems

Parents = list[list[int]]  # of node 0, 1, ...


def nodes(parents: Parents) -> list[Node]:
    return [Node(f"nodes[{node}]", node, list(enumerate(above))) for node, above in enumerate(parents)]


def reaches(edges: Mapping[int, set[int]], begin: int, goal: int) -> bool:
    """Whether parents lead from one node to another."""
    seen, left = set(), [begin]
    while left:
        node = left.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            left += edges.get(node, set())
    return False


def place(where: str) -> tuple[int, int]:
    found = re.fullmatch(r"nodes\[(\d+)\]\.parentNodeIds\[(\d+)\]", where)
    assert found
    return int(found[1]), int(found[2])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 7).flatmap(lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=4), min_size=n, max_size=n))
)
def test_without_the_places_that_are_told_a_graph_has_no_cycle_and_each_told_one_is_on_a_cycle(
    parents: Parents,
) -> None:
    whole = {node: set(above) for node, above in enumerate(parents)}
    problems = graph_problems(nodes(parents))
    left = {node: set(above) for node, above in whole.items()}
    for problem in problems:
        child, index = place(problem.where)
        assert reaches(whole, parents[child][index], child)
        left[child].discard(parents[child][index])
    assert not any(reaches(left, parent, child) for child in left for parent in left[child])
    assert bool(problems) == any(reaches(whole, parent, child) for child in whole for parent in whole[child])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), max_size=4), min_size=1, max_size=8))
def test_every_parent_that_is_not_there_is_told_at_its_place(parents: Parents) -> None:
    told = {problem.where for problem in graph_problems(nodes(parents)) if problem.text.startswith("expected the id")}
    assert told == {
        f"nodes[{node}].parentNodeIds[{index}]"
        for node, above in enumerate(parents)
        for index, parent in enumerate(above)
        if parent >= len(parents)
    }


def test_a_cycle_is_shown_as_a_way() -> None:
    (problem,) = graph_problems(
        [Node("nodes[0]", "a", [(0, "c")]), Node("nodes[1]", "b", [(0, "a")]), Node("nodes[2]", "c", [(0, "b")])]
    )
    assert str(problem) == 'nodes[0].parentNodeIds[0]: leads back to the node itself: "a" -> "b" -> "c" -> "a"'


def test_two_cycles_and_an_id_given_twice_are_three_mistakes() -> None:
    found = graph_problems([*nodes([[0], [2], [1]]), Node("nodes[3]", 1, [])])
    assert [problem.where for problem in found] == [
        "nodes[3].id",
        "nodes[0].parentNodeIds[0]",
        "nodes[1].parentNodeIds[0]",
    ]
    assert "is the id of nodes[1], too" in found[0].text


def test_a_chain_of_ten_thousand_nodes_is_no_trouble() -> None:
    assert graph_problems(nodes([[], *([node] for node in range(9_999))])) == []
