"""Every key of a TOML text has its line."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.cli import toml
from agent.config.places import Place, dotted, key_lines

TEXT = '''\
# [not.a.table]
top.dotted = 1 # = x
[agent]
"quoted.key" = """several
lines = 1
[no.table] \\""" """
'literal' = \'\'\'a
b''\'\'\'
tags = { a = "x#]}", b = ["y",
  "z", # ]
], c.d = {e = 1979-05-27T07:32:00Z} }
[[sinks.x.schema]]
k = 'a'
[sinks.x.schema.sub]
q = [[1, 2],
     [3]]
[[sinks.x.schema]]
k = [ {a=1},
 {b=2}, ]
[[ sinks . x . schema . "in" ]]
z=1
[empty]
'''


def test_each_key_is_found_in_its_line() -> None:
    tomllib.loads(TEXT)
    lines: dict[str, int] = {}
    for place, line in key_lines(TEXT):
        lines.setdefault(dotted(place), line)
    assert lines == {
        "top": 2,
        "top.dotted": 2,
        "agent": 3,
        "agent.quoted.key": 4,
        "agent.literal": 7,
        "agent.tags": 9,
        "agent.tags.a": 9,
        "agent.tags.b": 9,
        "agent.tags.b[0]": 9,
        "agent.tags.b[1]": 10,
        "agent.tags.c": 11,
        "agent.tags.c.d": 11,
        "agent.tags.c.d.e": 11,
        "sinks": 12,
        "sinks.x": 12,
        "sinks.x.schema": 12,
        "sinks.x.schema[0]": 12,
        "sinks.x.schema[0].k": 13,
        "sinks.x.schema[0].sub": 14,
        "sinks.x.schema[0].sub.q": 15,
        "sinks.x.schema[0].sub.q[0]": 15,
        "sinks.x.schema[0].sub.q[0][0]": 15,
        "sinks.x.schema[0].sub.q[0][1]": 15,
        "sinks.x.schema[0].sub.q[1]": 16,
        "sinks.x.schema[0].sub.q[1][0]": 16,
        "sinks.x.schema[1]": 17,
        "sinks.x.schema[1].k": 18,
        "sinks.x.schema[1].k[0]": 18,
        "sinks.x.schema[1].k[0].a": 18,
        "sinks.x.schema[1].k[1]": 19,
        "sinks.x.schema[1].k[1].b": 19,
        "sinks.x.schema[1].in": 20,
        "sinks.x.schema[1].in[0]": 20,
        "sinks.x.schema[1].in[0].z": 21,
        "empty": 22,
    }


def places(item: Any, place: Place = ()) -> set[Place]:
    """Every place in a tree as tomllib gives it."""
    inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    return {place, *(found for key, each in inner for found in places(each, (*place, key)))}


names = st.text("ab.\"' \\#=[]", min_size=1, max_size=3)
texts = st.text("ab\"'\\#=[]{},\n", max_size=6)
values = st.recursive(
    texts | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, values | st.dictionaries(names, values, max_size=3), max_size=4))
def test_no_key_of_any_text_is_missed(tree: dict[str, Any]) -> None:
    text = "\n".join(toml.tables(tree))
    assert tomllib.loads(text) == tree
    assert {place for place, _ in key_lines(text)} | {()} == places(tree)
