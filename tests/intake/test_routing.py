"""Which lanes want the records of a stream: what is kept and compiled says the same as the selection itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.events.rule import Rule
from agent.events.watch import Watch
from agent.intake.routing import Routing
from agent.options import Selection
from agent.stats import Stats

globs = st.lists(st.sampled_from(["*", "mqtt.*", "host.cpu", "a", "a*", "[ab]", "", "a\n", "?", "A"]), max_size=3).map(
    tuple
)
values = st.sampled_from(["a", "ab", "b", "", "A", "a\n", "\n", "mqtt.plant"])
tags = st.dictionaries(st.sampled_from(["x", "y"]), values)
selections = st.builds(
    lambda select, exclude, where: Selection(select=select, exclude=exclude, where=where),
    globs,
    globs,
    st.dictionaries(st.sampled_from(["x", "y"]), globs),
)


@given(st.lists(selections, max_size=4), st.lists(st.tuples(st.sampled_from(["mqtt.plant", "host.cpu", "a"]), tags)))
def test_lanes_are_those_whose_selection_matches(
    wanted: list[Selection], streams: list[tuple[str, dict[str, str]]]
) -> None:
    routing = Routing(wanted, None)
    for source, given_tags in streams:
        expected = {selection.lane for selection in wanted if selection.matches(source, given_tags)}
        assert set(routing.lanes(source, given_tags)) == expected
        assert set(routing.route(source, given_tags).lanes) == expected
        for never in expected:
            assert set(routing.route(source, given_tags, never=never).lanes) == expected - {never}


def test_streams_that_go_the_same_way_share_a_route_and_rules_tell_them_apart() -> None:
    rule = Rule(name="hot", when="mqtt.plant.t > 90", what="x", where={"kind": ("oven",)})
    watch = Watch([rule], stats=Stats())
    routing = Routing([Selection()], watch)
    oven, press = {"kind": "oven", "n": "1"}, {"kind": "press"}
    assert routing.route("mqtt.plant", oven) is routing.route("mqtt.plant", {**oven, "n": "2"})
    assert [each.rule.name for each in routing.route("mqtt.plant", oven).rules] == ["hot"]
    assert routing.route("mqtt.plant", press).rules == ()
    plain = Routing([Selection()], None)
    assert plain.route("mqtt.plant", oven) is plain.route("mqtt.plant", press)
