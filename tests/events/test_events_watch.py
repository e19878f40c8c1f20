"""All rules together, without a spool: that nothing is told wrongly, whatever comes."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.events.rule import Rule
from agent.events.watch import Event, Watch
from agent.record import middle
from agent.stats import Stats

HOUR = 3_600_000
TAGS = {"host": "edge", "device": "d"}
BETWEEN = middle("mqtt.plant", TAGS)


def shown(watch: Watch, fields: object, at: int, between: bytes = BETWEEN) -> list[Event]:
    """The events that a record causes; all of them become durable."""
    payload = json.dumps(fields).encode()
    events = watch.take(watch.of("mqtt.plant", TAGS), between, payload, at, at)
    for event in events:
        watch.committed(event)
    return events


samples = st.lists(st.tuples(st.booleans(), st.integers(0, HOUR // 3)), max_size=60)


@given(samples, st.integers(1, 4))
def test_of_all_changes_each_is_told_or_counted_and_what_was_told_last_comes_to_be_true(
    rows: list[tuple[bool, int]], most: int
) -> None:
    rule = Rule(name="r", when="mqtt.plant.t > 0", max_per_hour=most)
    watch, at, is_firing, changes = Watch((rule,), stats=Stats()), HOUR, False, 0
    events: list[Event] = []
    for is_met, later in rows:
        at += later
        changes += is_met is not is_firing
        is_firing = is_met
        events += shown(watch, {"t": int(is_met)}, at)
    # Then the last value stays, and the hour passes.
    events += shown(watch, {"t": int(is_firing)}, at + HOUR)
    told = [event.fields["state"] for event in events]
    assert all(one != other for one, other in pairwise(told))
    assert (told[-1] if told else "clear") == ("firing" if is_firing else "clear")
    assert len(events) + sum(int(str(event.fields["suppressed"])) for event in events) <= changes
    assert (
        max((sum(start <= e.ts_ms < start + HOUR for e in events) for start in [e.ts_ms for e in events]), default=0)
        <= most
    )
    # What was remembered is what was told.
    states = watch.remembered()["r"].states
    assert [state.is_firing for state in states] == [True] * is_firing
    left = watch.remembered()["r"].suppressed
    assert len(events) + sum(int(str(event.fields["suppressed"])) for event in events) + left == changes


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_any_text_in_a_payload_stands_in_the_event_as_it_is(value: str, tag: str, other: str) -> None:
    rule = Rule(name="r", when='mqtt.plant.s != "never so"', what="a{value}b{tags.device}c{fields.o}d{{e}}")
    watch = Watch((rule,), stats=Stats())

    def clean(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    (event,) = shown(watch, {"s": value, "o": other}, HOUR, middle("mqtt.plant", {"device": clean(tag)}))
    assert event.fields["what"] == f"a{clean(value)}b{clean(tag)}c{clean(other)}d{{e}}".strip()
    assert event.tags == {"device": clean(tag)}


def test_a_text_without_anything_in_it_is_the_name_of_the_rule() -> None:
    watch = Watch((Rule(name="r", when="mqtt.plant.t > 0", what=" {tags.none} "),), stats=Stats())
    (event,) = shown(watch, {"t": 1}, HOUR)
    assert event.fields["what"] == "r"
