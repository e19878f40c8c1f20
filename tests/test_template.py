"""Templates: what a text with places is, and that values are never looked at again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.template import Template

names = st.from_regex(r"[A-Za-z_@][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
texts = st.text(max_size=30)
pieces = st.lists(names.map(lambda name: (True, name)) | texts.map(lambda text: (False, text)), max_size=8)


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@given(
    st.lists(st.one_of(names.map(lambda name: (True, name)), texts.map(lambda text: (False, text))), max_size=8),
    st.data(),
)
def test_text_stays_and_places_are_filled(parts: list[tuple[bool, str]], data: st.DataObject) -> None:
    values = {name: data.draw(texts) for is_name, name in parts if is_name}
    template = Template.parse("".join(f"{{{part}}}" if is_name else escaped(part) for is_name, part in parts))
    assert template.names == values.keys()
    assert template.render(values) == "".join(values[part] if is_name else part for is_name, part in parts)


@pytest.mark.parametrize(
    "value",
    ["{tags.host}", "{{tags.host}}", "}", "{", "{value}{value}", '"', "\\", "\n", "{0.__class__}", "%s", "${HOME}"],
)
def test_what_a_value_holds_is_never_looked_at_again(value: str) -> None:
    template = Template.parse("{value}|{tags.host}|{value}")
    assert template.render({"value": value, "tags.host": "secret"}) == f"{value}|secret|{value}"


def test_a_name_without_a_value_stays_empty() -> None:
    assert Template.parse("a{tags.site}b").render({}) == "ab"


def test_doubled_braces_are_braces() -> None:
    assert Template.parse("{{{value}}} {{x}}").render({"value": "7"}) == "{7} {x}"
    assert Template.parse("").render({}) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a { b", "a single { at character 3: a brace is written twice"),
        ("a } b", "a single } at character 3: a brace is written twice"),
        ("{}", "{} is no name"),
        ("{a b}", "{a b} is no name"),
        ("{1}", "{1} is no name"),
        ("{value:>10}", None),
        ("{a{b}}", "a single {"),
    ],
)
def test_what_is_no_template_is_refused_with_the_reason(text: str, said: str | None) -> None:
    if said is None:
        # There are no format specifications: what looks like one is part of a name that nothing stands for.
        assert Template.parse(text).names == {"value:>10"}
        return
    with pytest.raises(ValueError, match="^" + re.escape(said)):
        Template.parse(text)


@given(st.text())
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        template = Template.parse(text)
    except ValueError:
        return
    assert isinstance(template.render({}), str)
