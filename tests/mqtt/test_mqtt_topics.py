"""Topic filters with named levels, and the streams that topics become."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors.mqtt.topics import Routes, Source, parse_filter
from agent.record import middle


def matches(pattern: list[str], topic: list[str]) -> bool:
    """MQTT's rule for filters, level by level, as the standard words it."""
    if topic and topic[0].startswith("$") and pattern[0] in ("+", "#"):
        return False
    for position, level in enumerate(pattern):
        if level == "#":
            return True
        if position >= len(topic) or level not in ("+", topic[position]):
            return False
    return len(topic) == len(pattern)


levels = st.sampled_from(["a", "b", "", "$SYS", "ä ö", "a.b", "(", "\n"])


@given(
    st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=4),
    st.booleans(),
    st.lists(levels, min_size=1, max_size=5),
)
def test_a_filter_matches_what_the_standard_says(pattern: list[str], tail: bool, topic: list[str]) -> None:
    whole = [*pattern, "#"] if tail else pattern
    if whole == [""]:
        return  # the one filter that is none
    # `a/#` stands for `a` as well, which the loop above says too: it has then met `#` beyond the topic's end.
    expected = matches(whole, topic)
    assert (parse_filter("/".join(whole)).tags("/".join(topic)) is not None) == expected


@given(
    st.lists(
        st.text(st.characters(exclude_characters="+#{}\0", exclude_categories=["Cs"]), min_size=1).filter(
            lambda level: "/" not in level
        ),
        min_size=3,
        max_size=5,
    )
)
def test_named_levels_give_back_what_the_topic_says(levels: list[str]) -> None:
    topic = "/".join(levels)
    first, second, *rest = levels
    found = parse_filter("{site}/{device}/{rest#}").tags(topic)
    if first.startswith("$"):
        assert found is None
    else:
        assert found == {"site": first, "device": second, "rest": "/".join(rest)}


@pytest.mark.parametrize(
    ("written", "asked", "topic", "tags"),
    [
        ("plant/{site}/{device}/state", "plant/+/+/state", "plant/a/b/state", {"site": "a", "device": "b"}),
        ("plant/{site}/{path#}", "plant/+/#", "plant/a/b/c", {"site": "a", "path": "b/c"}),
        ("plant/{path#}", "plant/#", "plant", {}),
        ("plant/{site}/x", "plant/+/x", "plant//x", {}),
        ("$share/agents/plant/{site}", "$share/agents/plant/+", "plant/a", {"site": "a"}),
        ("{path#}", "#", "a/b", {"path": "a/b"}),
        ("$SYS/{rest#}", "$SYS/#", "$SYS/broker/load", {"rest": "broker/load"}),
        ("#", "#", "a", {}),
        ("#", "#", "$SYS/a", None),
        ("plant.x/+", "plant.x/+", "plantyx/a", None),
    ],
)
def test_filters_as_they_are_written(written: str, asked: str, topic: str, tags: dict[str, str] | None) -> None:
    found = parse_filter(written)
    assert found.text == asked
    assert found.tags(topic) == tags


@pytest.mark.parametrize(
    "bad",
    [
        "", "a/#/b", "a/b#", "a/+b", "a/{x}y", "a/{}", "a/{x", "a/{1x}", "{x}/{x}", "{x#}/a", "$share/g", "$share//a",
        "$share/+/a", "$share/{g}/a", "a\0b", "a" * 65_536,
    ],
)  # fmt: skip
def test_bad_filters_are_refused_with_a_reason(bad: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        parse_filter(bad)


def routes(room: int = 1 << 20) -> Routes:
    sources = [Source(parse_filter("a/{x}"), False, None), Source(parse_filter("a/#"), True, None)]
    return Routes("mqtt.plant", {"site": "here", "x": "default"}, sources, topic_tag=True, room=room)


def test_topic_tags_win_over_the_collectors_and_the_first_filter_over_the_later() -> None:
    made = routes()
    first, second = made.find("a/b").stream, made.find("a/b/c").stream
    assert first is not None
    assert second is not None
    assert first.tags == {"site": "here", "topic": "a/b", "x": "b"}
    assert second.tags == {"site": "here", "topic": "a/b/c", "x": "default"}
    assert not made.find("a/b").retained
    assert made.find("a/b/c").retained
    assert made.find("elsewhere").stream is None
    assert made.find("a/b").stream is first  # made once


def test_an_empty_level_gives_no_tag_and_the_others_theirs() -> None:
    asked = parse_filter("{a}/{b}/{c#}")
    assert asked.tags("x//z") == {"a": "x", "c": "z"}
    assert asked.tags("x/y") == {"a": "x", "b": "y"}


def test_topics_that_come_together_get_the_routes_that_they_get_alone() -> None:
    made, alone = routes(), routes()
    topics = ["a/b", "a/b/c", "elsewhere", "a/b"]
    first = made.all(topics)
    assert first[0] is first[3]
    assert made.all(topics) == first  # made once
    for topic, route in zip(topics, first, strict=True):
        other = alone.find(topic)
        assert (route.retained, route.seed) == (other.retained, other.seed)
        assert (route.stream and route.stream.tags) == (other.stream and other.stream.tags)


def test_a_hundred_thousand_topics_do_not_fill_the_memory() -> None:
    made = routes(room=1 << 20)
    often = made.find("a/often").stream
    for number in range(100_000):
        made.find(f"a/{number}")
        if number % 300 == 0:
            assert made.find("a/often").stream is often  # what is seen again and again stays
    assert 500 < len(made) <= 2000


@pytest.mark.parametrize("level", ["{}", "{}" + "x" * 100, "{}" + "ü" * 10_000, "\N{ROCKET}" * 5_000 + "{}"])
def test_what_is_kept_of_topics_takes_the_room_there_is_however_long_they_are(level: str) -> None:
    made = Routes("mqtt.plant", {}, [Source(parse_filter("a/{x}/state"), True, None)], topic_tag=True, room=1 << 20)

    def meet(numbers: range) -> None:
        for number in numbers:
            stream = made.find(f"a/{level.format(number)}/state").stream
            assert stream is not None
            stream.middle = middle(stream.source, stream.tags)  # as intake does, with some tags of its own

    meet(range(3))
    tracemalloc.start()
    try:
        meet(range(3, 5_000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Text that is not ASCII takes more in UTF-8 than it does in Python.
    assert 1 << 18 < kept < (5 << 18) * (1 if level.isascii() else 2)
