"""What, tags and data out of a record."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from far_side import record, run_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import TooLarge, Unfit
from agent.sinks.rackspace import Rackspace
from agent.sinks.rackspace.escaping import MAX_VALUE

FIRING = (
    b'{"what":"disk full on web1","state":"firing","rule":"disk","value":93.20,"field":"used_percent","of":"host.disk",'
    b'"since":1700000000000,"suppressed":0}'
)


def note(source: bytes, **options: Any) -> dict[str, Any]:
    sink = Rackspace(tenant="123456", url="http://127.0.0.1:19000", **options)
    return dict(orjson.loads(sink.encode(run_of([source]))))


def test_an_event_of_a_rule_needs_no_templates() -> None:
    made = note(record(FIRING, source="event.disk", host="web1", path="/"))
    assert made["what"] == "disk full on web1"
    assert made["tags"] == "web1 disk firing"
    assert made["data"] == (
        "id=a1b2c3d4e5f60718-40, host=web1, path=/, state=firing, rule=disk, value=93.20, field=used_percent, "
        "of=host.disk, since=1700000000000, suppressed=0"
    )
    assert made["ts"] == 1700000000000


def test_an_event_of_the_agent_itself_has_no_holes() -> None:
    made = note(record(b'{"what":"started","state":"started"}', source="event.agent", host="web1"))
    assert (made["what"], made["tags"]) == ("started", "web1 started")


@pytest.mark.parametrize("fields", [b'{"v":1}', b'{"what":""}', b'{"what":" \\n"}', b'{"what":null}'])
def test_a_record_without_a_text_is_named_by_its_source(fields: bytes) -> None:
    assert note(record(fields, source="mqtt.plant"))["what"] == "mqtt.plant"


def test_nothing_to_say_is_refused_with_a_reason() -> None:
    with pytest.raises(Unfit, match="must not be empty") as caught:
        note(record(b'{"v":1}'), what=("{fields.what}", "{tags.text}"))
    assert list(caught.value.reasons) == [0]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{source}", "mqtt.plant"),
        ("{ts} {time}", "1700000000000 2023-11-14T22:13:20.000Z"),
        ("{host}/{tags.site}/{tags.none}", "h1/seoul/"),
        ("{fields.n} {fields.big} {fields.f}", "1.50 18446744073709551616 1e5"),
        ("{fields.disk.used} {fields.a.b}", "3 dotted"),
        ("{fields.disk}", '{"used":3,"deep":{"x":null}}'),
        ("{fields.list} {fields.yes} {fields.none}|", "[1, 2] true |"),
        ("{tags}", '{"host":"h1","site":"seoul"}'),
        ("{{literal}} {fields.brace}", "{literal} {host}"),
        ("{id}", "a1b2c3d4e5f60718-40"),
        ("{fields.disk.deep.x}{fields.disk.used.more}", ""),
    ],
)
def test_places_are_filled_with_what_was_written(template: str, expected: str) -> None:
    fields = (
        b'{"n":1.50,"big":18446744073709551616,"f":1e5,"disk":{"used":3,"deep":{"x":null}},"a.b":"dotted",'
        b'"list":[1, 2],"yes":true,"none":null,"brace":"{host}"}'
    )
    assert note(record(fields, host="h1", site="seoul"), data=template)["data"] == expected


def test_whole_parts_are_the_json_they_were() -> None:
    source = record(b'{"q":"a\\"b","n":1.50}', host="h1")
    made = note(source, data="{record}", tags="{fields}")
    assert made["data"].encode() == source
    assert made["tags"] == '{"q":"a\\"b","n":1.50}'


def test_half_a_surrogate_pair_becomes_a_character() -> None:
    made = note(record(b'{"what":"a\\ud800b","x":"\\udc00"}'), data="{fields.x}")
    assert (made["what"], made["data"]) == ("a\ufffdb", "\ufffd")


def test_long_values_are_cut_and_say_so() -> None:
    made = note(record(b'{"what":"%b","x":"%b"}' % (b"w" * 40_000, "é".encode() * 100_000)))
    for name in ("what", "data"):
        assert len(made[name].encode()) <= MAX_VALUE
        assert made[name].endswith("…")
    assert made["data"].startswith("id=a1b2c3d4e5f60718-40, ")


def test_a_request_carries_one_record() -> None:
    sink = Rackspace(tenant="123456", url="http://127.0.0.1:19000")
    assert (sink.limits.records, sink.limits.in_flight, sink.limits.linger) == (1, 1, 0.0)
    with pytest.raises(TooLarge):
        sink.encode(run_of([record(), record()]))


def test_encoding_and_packing_are_pure() -> None:
    sink = Rackspace(tenant="123456", url="http://127.0.0.1:19000")
    run = run_of([record(FIRING, source="event.disk", host="web1")])
    data = sink.encode(run)
    assert data == sink.encode(run)
    assert orjson.loads(sink.pack("x", 17, data)) == {**orjson.loads(data), "newest": 17}


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.floats(allow_nan=False, allow_infinity=False)
)
_json = st.recursive(
    st.one_of(_scalars, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=6), _json, max_size=4), st.booleans())
def test_any_record_makes_an_annotation(fields: dict[str, Any], escaped: bool) -> None:
    text = json.dumps(fields, ensure_ascii=escaped).encode("utf-8", "replace" if not escaped else "strict")
    made = note(record(text, host="h"), what=("{fields.what} {source}",), data="{pairs} {fields} {record}")
    assert made["what"]
    for name in ("what", "tags", "data"):
        assert len(made[name].encode()) <= MAX_VALUE
