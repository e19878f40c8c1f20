"""From records to rows: which record feeds which schema, and how many values become one."""

from __future__ import annotations

import json
from array import array
from itertools import pairwise
from typing import Any

import pytest
from far_side import record
from hypothesis import given
from hypothesis import strategies as st

from agent.record import Run
from agent.schema import Secret
from agent.sinks.cloud_insight import CloudInsight
from agent.sinks.cloud_insight.requests import content
from agent.sinks.cloud_insight.schema import Fixed, Metric, Schema

MINUTE = 1_700_000_040_000  # a full one
KEY = "460438474722512896"


def sink(*schemas: Schema, **options: Any) -> CloudInsight:
    return CloudInsight(access_key=Secret("a"), secret_key=Secret("b"), schema=schemas, **options)


def schema(**options: Any) -> Schema:
    return Schema(**{"cw_key": KEY, "metrics": {"v": "v"}, **options})


def run_of(*records: bytes, at: int = MINUTE) -> Run:
    """Records as they are read, all of them taken in within the minute that begins `at`."""
    return Run(
        segment_id=1,
        first=0,
        body=b",".join(records),
        lengths=array("I", map(len, records)),
        oldest_ms=at + 100,
        newest_ms=at + 59_000,
    )


def tick(n: float, fields: dict[str, Any], source: str = "mqtt.plant", **tags: str) -> bytes:
    """A record `n` seconds into the minute."""
    return record(json.dumps(fields).encode(), ts=MINUTE + round(n * 1000), source=source, **{"host": "web", **tags})


def rows(made: CloudInsight, *records: bytes) -> list[dict[str, Any]]:
    found = content(made.encode(run_of(*records))).requests
    return [json.loads(row) for request in found for row in request.rows]


def left(made: CloudInsight, *records: bytes) -> dict[str, dict[str, int]]:
    return {kind: dict(counts) for kind, counts in content(made.encode(run_of(*records))).left.items() if counts}


def test_a_minute_is_one_row_for_each_value_of_the_dimensions() -> None:
    records = [tick(n * 10, {"v": n}, device=device) for n in range(6) for device in "ab"]
    made = sink(schema(dimensions={"device": "device"}))
    assert rows(made, *records) == [{"device": "a", "v": 2.5}, {"device": "b", "v": 2.5}]


def test_a_request_is_the_array_form_with_the_key_as_text() -> None:
    assert (
        sink(schema()).encode(run_of(tick(1, {"v": 1})))
        == b'{"cw_key":"%b","data":[{"host":"web","v":1.0}]}' % KEY.encode()
    )


@pytest.mark.parametrize(
    ("rollup", "expect"),
    [(None, 4.0), ("avg", 4.0), ("max", 7), ("min", 2), ("last", 3), ("sum", 12), ("rate", 0.4)],
)
def test_each_way_of_rolling_up(rollup: Any, expect: float) -> None:
    made = sink(schema(metrics={"v": Metric(field="v", rollup=rollup)}))
    (row,) = rows(made, tick(0, {"v": 2}), tick(10, {"v": 7}), tick(20, {"v": 3}))
    # The rate: up by 5, then reset and up by 3, in 20 s.
    assert row["v"] == expect
    assert type(row["v"]) is type(expect)


def test_a_text_is_the_last_value_as_it_was_sent_and_never_an_average() -> None:
    made = sink(schema(metrics={"v": Metric(field="v", type="STRING")}))
    (row,) = rows(made, tick(0, {"v": 404}), tick(10, {"v": 500}))
    assert row["v"] == "500"


def test_numbers_at_the_edge_of_a_double_break_nothing_beside_half_a_surrogate_pair() -> None:
    made = sink(schema(dimensions={"device": "device"}))
    odd = b'{"v":1%b,"x":"\\ud800"}' % (b"7" * 308)
    records = [record(odd, ts=MINUTE, source="mqtt.plant", device="a") for _ in range(3)]
    given = (*records, tick(1, {"v": 1.5}, device="a"), tick(1, {"v": 2}, device="b"))
    assert rows(made, *given) == [{"device": "b", "v": 2.0}]
    assert left(made, *given) == {"unfit": {f"cw_key {KEY}: v": 1}}


def test_values_out_of_order_have_their_own_time() -> None:
    made = sink(schema(metrics={"v": Metric(field="v", rollup="last"), "r": Metric(field="v", rollup="rate")}))
    (row,) = rows(made, tick(0, {"v": 0}), tick(20, {"v": 40}), tick(10, {"v": 20}))
    assert row == {"host": "web", "v": 40, "r": 2.0}


def test_a_rate_of_one_tick_is_not_there() -> None:
    made = sink(schema(metrics={"r": Metric(field="v", rollup="rate"), "v": "v"}))
    assert rows(made, tick(0, {"v": 5})) == [{"host": "web", "v": 5.0}]


@pytest.mark.parametrize(
    ("across", "expect"), [(None, 30.0), ("sum", 30.0), ("max", 20.0), ("min", 10.0), ("avg", 15.0), ("last", 20.0)]
)
def test_instances_are_rolled_up_each_for_itself_and_then_made_one(across: Any, expect: float) -> None:
    metric = Metric(field="v", rollup="rate", across=across)
    made = sink(schema(metrics={"v": metric}))
    a = [tick(n * 10, {"v": 100 * n}, interface="a") for n in range(3)]
    b = [tick(n * 10 + 1, {"v": 200 * n}, interface="b") for n in range(3)]
    assert rows(made, *a, *b) == [{"host": "web", "v": expect}]


@pytest.mark.parametrize(
    ("value", "kind", "expect"),
    [
        (3, None, 3), (2.5, None, 2.5), (True, None, 1), (False, None, 0), ("on", None, "on"),
        (3, "FLOAT", 3.0), (2.6, "LONG", 3), (3, "STRING", "3"), ("on", "STRING", "on"), (True, "LONG", 1),
        (2**63 - 1, "LONG", 2**63 - 1), (2**31 - 1, "INTEGER", 2**31 - 1),
    ],
)  # fmt: skip
def test_a_value_has_the_type_of_its_metric(value: object, kind: Any, expect: object) -> None:
    (row,) = rows(sink(schema(metrics={"v": Metric(field="v", rollup="last", type=kind)})), tick(0, {"v": value}))
    assert row["v"] == expect
    assert type(row["v"]) is type(expect)


@pytest.mark.parametrize("value", [2**63, {"a": 1}, [1]])
def test_a_value_that_no_metric_can_hold_is_left_out_and_counted(value: object) -> None:
    made = sink(schema(metrics={"v": Metric(field="v", rollup="last"), "w": "w"}))
    records = [tick(0, {"v": value, "w": 1})]
    assert rows(made, *records) == [{"host": "web", "w": 1.0}]
    assert left(made, *records) == {"unfit": {f"cw_key {KEY}: v": 1}}


def test_a_text_where_a_number_is_wanted_is_not_sent() -> None:
    made = sink(schema(metrics={"v": Metric(field="v", type="LONG"), "w": Metric(field="v", rollup="max")}))
    assert rows(made, tick(0, {"v": "12"}), tick(1, {"v": None})) == []


def test_texts_and_switches_have_their_last_value() -> None:
    made = sink(schema(metrics={"state": "state", "on": "on"}))
    assert rows(made, tick(0, {"state": "run", "on": True}), tick(9, {"state": "stop", "on": False})) == [
        {"host": "web", "state": "stop", "on": 0}
    ]


def test_groups_of_one_tick_are_one_row() -> None:
    metrics: dict[str, str | Metric] = {
        "mem": "host.mem.used_percent",
        "swap": "host.swap.used_percent",
        "cpu": Metric(field="usage", source=("host.cpu",), where={"cpu": ("cpu-total",)}),
    }
    made = sink(schema(select=("host.*",), metrics=metrics), rollup=0.0)
    records = [
        each
        for n in (0, 10)
        for each in (
            tick(n, {"used_percent": 40 + n}, "host.mem"),
            tick(n, {"used_percent": 10 + n}, "host.swap"),
            tick(n, {"usage": 5 + n}, "host.cpu", cpu="cpu-total"),
            tick(n, {"usage": 99}, "host.cpu", cpu="cpu0"),
        )
    ]
    assert rows(made, *records) == [
        {"host": "web", "mem": 40.0, "swap": 10.0, "cpu": 5.0},
        {"host": "web", "mem": 50.0, "swap": 20.0, "cpu": 15.0},
    ]
    assert left(made, *records) == {"unused": {"host.cpu": 2}}


def test_a_late_record_stays_in_its_own_minute() -> None:
    assert rows(sink(schema()), tick(-30, {"v": 1}), tick(5, {"v": 3}), tick(15, {"v": 5})) == [
        {"host": "web", "v": 1.0},
        {"host": "web", "v": 4.0},
    ]


def test_a_tick_right_at_the_edge_of_its_window_makes_no_row_of_its_own() -> None:
    assert rows(sink(schema()), tick(-0.2, {"v": 1}), tick(30, {"v": 3}), tick(60.5, {"v": 5})) == [
        {"host": "web", "v": 3.0}
    ]


def test_without_rollup_every_tick_is_a_row() -> None:
    made = sink(schema(), rollup=0.0)
    assert made.limits.window == 0
    assert [row["v"] for row in rows(made, tick(0, {"v": 1}), tick(1, {"v": 2}), tick(1, {"v": 4}))] == [1.0, 3.0]


def test_dimensions_come_from_tags_fields_and_the_configuration_and_are_text() -> None:
    dimensions: dict[str, str | Fixed] = {"device": "device", "unit": "fields.at.unit", "zone": Fixed(text="seoul")}
    made = sink(schema(dimensions=dimensions))
    assert rows(made, tick(0, {"v": 1, "at": {"unit": 7}}, device='é\\"')) == [
        {"device": 'é\\"', "unit": "7", "zone": "seoul", "v": 1.0}
    ]


@pytest.mark.parametrize(
    ("fields", "tags", "lacks"),
    [
        ({"unit": 1}, {}, "device"),
        ({}, {"device": "d"}, "unit"),
        ({"unit": 1.5}, {"device": "d"}, "unit"),
        ({"unit": ""}, {"device": "d"}, "unit"),
    ],
)
def test_a_record_that_lacks_a_dimension_is_in_no_row_and_counted(
    fields: dict[str, Any], tags: dict[str, str], lacks: str
) -> None:
    made = sink(schema(name="Custom/Fleet", dimensions={"device": "device", "unit": "fields.unit"}))
    whole = tick(1, {"v": 2, "unit": 1}, device="d")
    lacking = [tick(0, {"v": 1, **fields}, **tags)] * 3
    assert rows(made, *lacking, whole) == [{"device": "d", "unit": "1", "v": 2.0}]
    assert left(made, *lacking, whole) == {"lacking": {f"Custom/Fleet: {lacks}": 3}}


def test_what_feeds_no_schema_is_counted_by_its_source_and_sends_nothing() -> None:
    made = sink(schema(select=("mqtt.*",), where={"site": ("seoul-*",)}))
    records = [tick(0, {"v": 1}, "host.cpu"), tick(0, {"v": 1}, site="busan"), tick(0, {"w": 1}, site="seoul-1")]
    assert content(made.encode(run_of(*records))).requests == []
    assert left(made, *records) == {"unused": {"host.cpu": 1, "mqtt.plant": 2}}


def test_where_all_is_used_and_gives_no_row_there_is_no_data() -> None:
    made = sink(schema(metrics={"r": Metric(field="v", rollup="rate")}))
    assert made.encode(run_of(tick(0, {"v": 1}))) == b""


def test_one_record_may_feed_several_schemas() -> None:
    made = sink(schema(), schema(cw_key="2" * 18, dimensions={"device": "device"}))
    found = content(made.encode(run_of(tick(0, {"v": 1}, device="d")))).requests
    assert [(request.cw_key, request.rows) for request in found] == [
        (KEY, [b'{"host":"web","v":1.0}']),
        ("2" * 18, [b'{"device":"d","v":1.0}']),
    ]


@pytest.mark.parametrize(("max_rows", "max_bytes"), [(100, 1 << 18), (7, 1 << 18), (10_000, 1024), (250, 1 << 18)])
def test_requests_keep_to_their_limits(max_rows: int, max_bytes: int) -> None:
    made = sink(schema(dimensions={"device": "device"}), max_rows=max_rows, max_bytes=max_bytes)
    written = made.encode(run_of(*(tick(0, {"v": n}, device=f"d{n:03}") for n in range(250)))).split(b"\n")
    counts = [len(json.loads(line)["data"]) for line in written]
    assert sum(counts) == 250
    assert max(counts) <= max_rows
    assert max(map(len, written)) <= max_bytes
    # And they are as few as that allows.
    smallest = min((len(left) + len(right) for left, right in pairwise(written)), default=0)
    assert max_rows in counts or smallest > max_bytes


def test_a_path_leads_into_objects_and_a_name_with_dots_goes_first() -> None:
    made = sink(schema(metrics={"a": "x.y.z", "b": "x.y", "c": "p.q"}))
    assert rows(made, tick(0, {"x": {"y.z": 1}, "x.y": 2, "p": {"q": None}})) == [{"host": "web", "a": 1.0, "b": 2.0}]


def test_the_time_of_the_newest_value_is_sent_on_request_alone() -> None:
    records = [tick(0, {"v": 1}), tick(20, {"v": 1}), tick(40, {"w": 1})]
    assert rows(sink(schema(), timestamp=True), *records) == [{"host": "web", "v": 1.0, "timestamp": MINUTE + 20_000}]
    assert rows(sink(schema()), *records) == [{"host": "web", "v": 1.0}]


def test_half_a_surrogate_pair_costs_its_own_character_alone() -> None:
    made = sink(schema(metrics={"v": "v"}, dimensions={"d": "fields.d"}))
    assert rows(made, record(b'{"v":"a\\ud800","d":"\\udfffb"}', ts=MINUTE)) == [{"d": "?b", "v": "a?"}]


VALUES = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text() | st.none()


@given(st.lists(st.tuples(st.integers(-90, 90), st.sampled_from("ab"), VALUES), min_size=1))
def test_the_same_records_always_give_the_same_bytes(given: list[tuple[int, str, Any]]) -> None:
    made = sink(
        schema(dimensions={"device": "device"}, metrics={"v": "v", "m": Metric(field="v", rollup="max", type="LONG")})
    )
    run = run_of(*(tick(n, {"v": value}, device=device) for n, device, value in given))
    written = made.encode(run)
    assert made.encode(run) == written
    for request in content(written).requests:
        for row in request.rows:
            assert all(value is not None and isinstance(value, int | float | str) for value in json.loads(row).values())
