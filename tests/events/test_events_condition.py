"""Conditions: what can be written, what is refused with which words, and when they hold."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events.condition import Condition, meet

numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6)
comparing = st.sampled_from([">", ">=", "<", "<=", "==", "!="])


@pytest.mark.parametrize(
    ("text", "source", "path", "operator", "threshold"),
    [
        ("host.disk.used_percent > 90", "host.disk", ("used_percent",), ">", 90),
        ("host.disk.used_percent>90", "host.disk", ("used_percent",), ">", 90),
        ("  mqtt.plant.oil.level <= -1.5e2 ", "mqtt.plant", ("oil", "level"), "<=", -150.0),
        ('mqtt.plant.state == "on > off"', "mqtt.plant", ("state",), "==", "on > off"),
        ("mqtt.plant.state != 'down'", "mqtt.plant", ("state",), "!=", "down"),
        ("mqtt.plant.alarm == true", "mqtt.plant", ("alarm",), "==", True),
        ("mqtt.*.alarm == false", "mqtt.*", ("alarm",), "==", False),
        ("host.[!d]*.used >= .5", "host.[!d]*", ("used",), ">=", 0.5),
        ('mqtt.plant."oil level"."a.b" < 3', "mqtt.plant", ("oil level", "a.b"), "<", 3),
        (r'mqtt.plant."a\"b>" < 3', "mqtt.plant", ('a"b>',), "<", 3),
        ("mqtt.plant.Öl°C < 3", "mqtt.plant", ("Öl°C",), "<", 3),
        ("mqtt.plant.@value > 3", "mqtt.plant", ("@value",), ">", 3),
        ("mqtt.line-2.t > 18446744073709551615", "mqtt.line-2", ("t",), ">", 18446744073709551615),
    ],
)
def test_a_condition_is_a_source_a_field_an_operator_and_a_value(
    text: str, source: str, path: tuple[str, ...], operator: str, threshold: Any
) -> None:
    condition = Condition.parse(text)
    assert condition == Condition(source, path, operator, threshold)
    assert type(condition.threshold) is type(threshold)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a field, an operator and a value"),
        ("host.disk.used_percent", "expected a field, an operator and a value"),
        ("host.disk > 90", "expected a source of two parts and a field of it"),
        ("used_percent > 90", "expected a source of two parts and a field of it"),
        ("host..disk > 90", "expected a field such as host.disk.used_percent before the operator"),
        ("host.disk.used percent > 90", 'put names with blanks in quotes: mqtt.plant."oil level"'),
        ("> 90", "expected a field such as"),
        ("host.disk.used_percent = 90", "found =; did you mean ==?"),
        ("host.disk.used_percent => 90", "found =>; did you mean >=?"),
        ("host.disk.used_percent > 90%", 'found "90%"; numbers stand without a unit'),
        ("host.disk.used_percent > 10 GiB", "numbers stand without a unit"),
        ("host.disk.used_percent > high", 'found "high"; a text stands in quotes'),
        ('host.disk.used_percent > "high"', "> compares numbers"),
        ("host.disk.used_percent < true", "< compares numbers"),
        ("host.disk.used_percent >", 'a number, "text", true or false after the operator, found ""'),
        ("host.disk.used_percent > 1e999", "expected a number"),
        ("host.disk.used_percent > nan", "expected a number"),
        ("host.disk.used* > 9", "only the source may be a glob"),
        (r'mqtt.plant.x == "\q"', "with \\ only as JSON has it"),
        ("a.b.c > 1 > 2", "expected a number"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_was_expected_and_found(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Condition.parse(text)


def test_what_ends_it_may_leave_the_field_out_but_not_change_it() -> None:
    when = Condition.parse("host.disk.used_percent > 90")
    for text in ("< 85", "host.disk.used_percent < 85"):
        assert Condition.parse_clear(text, when) == Condition("host.disk", ("used_percent",), "<", 85)
    with pytest.raises(ValueError, match=r"the same field as when, host\.disk\.used_percent, found host\.disk\.free"):
        Condition.parse_clear("host.disk.free > 10", when)
    with pytest.raises(ValueError, match=r'expected a number as in when, found ""ok""'):
        Condition.parse_clear('== "ok"', when)


@given(numbers, comparing, numbers)
def test_the_negation_holds_exactly_when_the_condition_does_not(value: float, operator: str, threshold: float) -> None:
    condition = Condition("a.b", ("c",), operator, threshold)
    assert condition.holds(value) is not condition.negation.holds(value)
    assert condition.negation.negation == condition


@given(numbers, comparing, numbers, comparing, numbers)
def test_where_no_value_is_found_to_meet_both_there_is_none(
    value: float, one: str, first: float, other: str, second: float
) -> None:
    left, right = Condition("a.b", ("c",), one, first), Condition("a.b", ("c",), other, second)
    found = meet(left, right)
    if found is not None:
        assert left.holds(found)
        assert right.holds(found)
    elif first != second:
        assert not (left.holds(value) and right.holds(value))


@pytest.mark.parametrize("value", [None, "91", [], {}, True, float("nan")])
def test_what_is_no_number_says_nothing_to_a_number(value: object) -> None:
    assert Condition.parse("a.b.c > 90").holds(value) is None
    assert Condition.parse("a.b.c != 90").holds(value) is None


@pytest.mark.parametrize("value", [None, 1, 0, 1.0, "true"])
def test_what_is_of_another_kind_says_nothing_to_true_and_false(value: object) -> None:
    assert Condition.parse("a.b.c == true").holds(value) is None


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"oil": {"level": 1}}, 1),
        ({"oil.level": 2, "oil": {"level": 1}}, 2),
        ({"oil": 1}, None),
        ({"oil": {"deep": {"level": 1}}}, None),
        ({"oil": [{"level": 1}]}, None),
        ({"oil": {"level": None}}, None),
        ({}, None),
    ],
)
def test_a_field_is_found_under_its_name_or_down_the_path(fields: dict[str, Any], value: object) -> None:
    assert Condition.parse("a.b.oil.level > 0").value_in(fields) == value
