"""What Obsrv gets: three shapes, two forms, ids, times and hosts, and the same bytes every time."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from far_side import record, run_of
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BadPayload, TooLarge, Unfit
from agent.record import middle
from agent.sinks.obsrv import Obsrv
from agent.sinks.obsrv import sink as module
from agent.sinks.obsrv.shapes import Key, cut, fields_of, host_of, members, time_as, time_of, with_missing

TS = 1700000000123


def obsrv(**options: Any) -> Obsrv:
    return Obsrv(url="http://127.0.0.1:1", dataset="d", **options)


def events(sink: Obsrv, *records: bytes, first: int = 40) -> list[Any]:
    found: list[Any] = json.loads(b"[%b]" % sink.encode(run_of(records, first=first)))
    return found


def event(sink: Obsrv, fields: bytes, **tags: str) -> Any:
    (found,) = events(sink, record(fields, ts=TS, source="mqtt.plant", **tags))
    return found


# Records


def test_whole_records_go_out_as_they_are_without_being_touched() -> None:
    run = run_of([record(b'{ "a": 1.0 }'), record(b'{"b":[true,null,"x"]}', host="h")])
    assert obsrv().encode(run) is run.body


def test_keys_are_put_in_front_of_a_record() -> None:
    sink = obsrv(id_key="id", time_key="@time", time_format="rfc3339", host_key="node")
    assert event(sink, b'{"id":"inner"}', host="edge-1") == {
        "id": "a1b2c3d4e5f60718-40",
        "@time": "2023-11-14T22:13:20.123Z",
        "node": "edge-1",
        "ts": TS,
        "source": "mqtt.plant",
        "tags": {"host": "edge-1"},
        "fields": {"id": "inner"},
    }


# Payloads


def test_a_payload_goes_out_alone() -> None:
    run = run_of([record(b'{"a":1.10,"b":{ }}', host="h"), record(b"{}")])
    assert obsrv(shape="payload").encode(run) == b'{"a":1.10,"b":{ }},{}'


def test_a_payload_gets_the_keys_it_lacks() -> None:
    sink = obsrv(shape="payload", id_key="mid", time_key="ets", host_key="host")
    assert event(sink, b'{"v":1}', host="edge-1") == {
        "mid": "a1b2c3d4e5f60718-40", "ets": TS, "host": "edge-1", "v": 1,
    }  # fmt: skip
    assert event(sink, b"{ }") == {"mid": "a1b2c3d4e5f60718-40", "ets": TS}


def test_what_a_device_says_itself_wins() -> None:
    sink = obsrv(shape="payload", id_key="mid", time_key="ets", host_key="host")
    text = sink.encode(run_of([record(b'{"host":null,"mid":"own","deep":{"ets":1}}', host="h")]))
    assert text == b'{"ets":1700000000000,"host":null,"mid":"own","deep":{"ets":1}}'


def test_a_key_written_with_escapes_wins_too() -> None:
    sink = obsrv(shape="payload", id_key="id")
    assert event(sink, b'{"\\u0069d":"own"}') == {"id": "own"}


def test_every_record_has_an_id_of_its_own_that_no_regrouping_changes() -> None:
    sink = obsrv(shape="payload", id_key="id")
    records = [record(b'{"n":%d}' % n) for n in range(5)]
    together = events(sink, *records, first=7)
    assert [each["id"] for each in together] == [f"a1b2c3d4e5f60718-{index}" for index in range(7, 12)]
    run = run_of(records, first=7)
    apart = [json.loads(sink.encode(run.slice(n, n + 1))) for n in range(5)]
    assert apart == together


# Flat


def test_flat_is_one_object_without_objects() -> None:
    sink = obsrv(shape="flat", id_key="id")
    fields = b'{"cpu":{"user":1.50,"by":{"core":[{"n":1}]}},"empty":{},"ok":true}'
    assert sink.encode(run_of([record(fields, ts=TS, host="h", site="s")])) == (
        b'{"ts":1700000000123,"source":"mqtt.plant","host":"h","site":"s",'
        b'"cpu_user":1.50,"cpu_by_core":[{"n":1}],"empty":{},"ok":true,"id":"a1b2c3d4e5f60718-40"}'
    )


def test_flat_can_have_other_names_for_time_and_host_and_another_separator() -> None:
    sink = obsrv(shape="flat", time_key="ets", time_format="s", host_key="node", separator=".")
    assert event(sink, b'{"a":{"b":1},"ts":5}', host="h") == {
        "ets": 1700000000, "source": "mqtt.plant", "node": "h", "a.b": 1, "ts": 5,
    }  # fmt: skip


def test_flat_loses_nothing_where_names_clash() -> None:
    sink = obsrv(shape="flat", id_key="id")
    fields = b'{"ts":"f","source":"f","site":"f","a_b":1,"a":{"b":2},"fields_a_b":3,"id":"own"}'
    text = b'{"ts":%d%b%b}' % (TS, middle("mqtt.plant", {"site": "t", "ts": "t"}), fields)
    (found,) = events(sink, text)
    assert found == {
        "ts": TS,
        "source": "mqtt.plant",
        "site": "t",
        "tags_ts": "t",
        "fields_ts": "f",
        "fields_source": "f",
        "fields_site": "f",
        "a_b": 1,
        "fields_a_b": 2,
        "fields_fields_a_b": 3,
        "id": "own",
    }


def test_flat_numbers_what_clashes_twice() -> None:
    fields = b'{"fields_ts":0,"ts":1,"a_b_c":0,"a":{"b_c":1,"b":{"c":2}},"a_b":{"c":3}}'
    assert event(obsrv(shape="flat"), fields) == {
        "ts": TS, "source": "mqtt.plant", "fields_ts": 0, "fields_ts_2": 1,
        "a_b_c": 0, "fields_a_b_c": 1, "fields_a_b_c_2": 2, "fields_a_b_c_3": 3,
    }  # fmt: skip


def test_a_small_record_that_would_be_huge_when_flat_costs_itself() -> None:
    long = b"n" * 100_000
    bomb = record(b'{"%b":{%b}}' % (long, b",".join(b'"k%d":1' % n for n in range(10_000))))
    with pytest.raises(Unfit) as caught:
        obsrv(shape="flat").encode(run_of([record(), bomb, record()]))
    assert caught.value.reasons == {1: "too large once it is flat"}


def test_half_a_surrogate_pair_passes_through() -> None:
    fields = b'{"\\ud800":{"a":"\\udfff","f":1.0},"id":1}'
    assert event(obsrv(shape="flat"), fields)["\ud800_a"] == "\udfff"
    assert event(obsrv(shape="payload", id_key="id"), fields)["\ud800"] == {"a": "\udfff", "f": 1.0}


# Numbers


def test_large_whole_numbers_arrive_exactly_in_every_shape() -> None:
    fields = b'{"ns":1668591949682123456,"u":18446744073709551615,"n":-9007199254740993,"f":0.1,"i":9007199254740991}'
    exact = {
        "ns": "1668591949682123456",
        "u": "18446744073709551615",
        "n": "-9007199254740993",
        "f": 0.1,
        "i": 9007199254740991,
    }
    assert event(obsrv(), fields)["fields"] == exact
    assert event(obsrv(shape="payload"), fields) == exact
    assert event(obsrv(shape="flat"), fields).items() >= exact.items()


# Time


@pytest.mark.parametrize(
    ("format", "ts", "text"),
    [
        ("ms", b"1700000000123", b"1700000000123"),
        ("s", b"1700000000999", b"1700000000"),
        ("s", b"-1", b"-1"),
        ("rfc3339", b"1700000000123", b'"2023-11-14T22:13:20.123Z"'),
        ("rfc3339", b"0", b'"1970-01-01T00:00:00.000Z"'),
        ("rfc3339", b"-1", b'"1969-12-31T23:59:59.999Z"'),
        ("rfc3339", b"253402300799999", b'"9999-12-31T23:59:59.999Z"'),
    ],
)
def test_a_time_is_written_as_asked_for(format: Any, ts: bytes, text: bytes) -> None:
    assert time_as(ts, format) == text


def test_a_time_outside_the_calendar_costs_its_record_alone() -> None:
    with pytest.raises(BadPayload):
        time_as(b"253402300800000", "rfc3339")
    sink = obsrv(shape="payload", time_key="t", time_format="rfc3339")
    with pytest.raises(Unfit) as caught:
        sink.encode(run_of([record(), record(ts=10**17)]))
    assert list(caught.value.reasons) == [1]


# Sizes and forms


def test_a_record_above_the_limit_costs_itself_and_says_why() -> None:
    run = run_of([record(), record(b'{"s":"%b"}' % bytes(1_000_000).replace(b"\0", b"x"))])
    with pytest.raises(Unfit) as caught:
        obsrv().encode(run)
    assert list(caught.value.reasons) == [1]
    assert caught.value.reasons[1].endswith("bytes; Obsrv takes 1 MB")


def test_many_records_above_the_limit_are_to_be_split() -> None:
    with pytest.raises(TooLarge):
        obsrv().encode(run_of([record(b'{"s":"%b"}' % (b"x" * 300_000))] * 4))


def test_no_body_reaches_a_million_bytes() -> None:
    sink = obsrv(gzip=False)
    room = module.MAX_DATA - len(record(b'{"s":""}'))
    data = sink.encode(run_of([record(b'{"s":"%b"}' % (b"x" * room))]))
    assert len(data) == module.MAX_DATA
    assert len(sink.pack("f" * 16 + "-18446744073709551615-18446744073709551615-ffffffff", 2**63, data)) < 1_000_000


def test_a_single_form_takes_one_record_a_request() -> None:
    sink = obsrv(form="single", id_key="id", gzip=False)
    assert sink.limits.records == 1
    body = json.loads(sink.pack("batch", 5, sink.encode(run_of([record()]))))
    assert body["data"]["id"] == "a1b2c3d4e5f60718-40"
    with pytest.raises(TooLarge):
        sink.encode(run_of([record()] * 2))


# The envelope


def test_the_body_is_this_to_the_byte() -> None:
    sink = obsrv(gzip=False)
    assert sink.pack("00000000000000ff-0-1-0a0b0c0d", 1700000000500, b'{"a":1},{"a":2}') == (
        b'{"id":"api.data.in","ver":"v2","ts":"1700000000500",'
        b'"params":{"msgid":"00000000000000ff-0-1-0a0b0c0d"},"data":[{"a":1},{"a":2}]}'
    )


def test_the_same_batch_gives_the_same_bytes_compressed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of([record(b'{"n":%d}' % n) for n in range(500)])
    first = obsrv()
    packed = first.pack("id", run.newest_ms, first.encode(run))
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    again = obsrv()
    assert again.pack("id", run.newest_ms, again.encode(run)) == packed
    assert packed[4:8] == bytes(4)  # no time in gzip's header
    assert gzip.decompress(packed) == obsrv(gzip=False).pack("id", run.newest_ms, first.encode(run))


def test_without_isal_zlib_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_compressor", zlib.compressobj)
    packed = obsrv().pack("id", 1, b'{"a":1}')
    assert packed[4:8] == bytes(4)
    assert json.loads(gzip.decompress(packed))["data"] == [{"a": 1}]


# Options


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, []),
        ({"form": "single", "id_key": "id"}, []),
        ({"form": "single"}, ["id_key"]),
        ({"shape": "payload", "id_key": "ts", "time_key": "source", "host_key": "host"}, []),
        ({"shape": "record", "id_key": "tags"}, ["id_key"]),
        ({"shape": "flat", "id_key": "ts"}, ["id_key"]),
        ({"shape": "flat", "id_key": "ts", "time_key": "ets"}, []),
        ({"shape": "flat", "time_key": "source"}, ["time_key"]),
        ({"shape": "flat", "time_key": "ts", "host_key": "host"}, []),
        ({"shape": "payload", "id_key": "a", "time_key": "a"}, ["id_key"]),
        ({"id_key": ""}, ["id_key"]),
        ({"dataset": " "}, ["dataset"]),
        ({"dataset": ".."}, ["dataset"]),
        ({"url": "https://obsrv.example/v2/data/in/x"}, ["url"]),
        ({"url": "obsrv.example"}, ["url"]),
        ({"client_key": "k.pem"}, ["client_key"]),
    ],
)
def test_options_are_checked_together(options: dict[str, Any], where: list[str]) -> None:
    sink = Obsrv(**{"url": "https://obsrv.example", "dataset": "d", **options})
    assert [place for place, _ in sink.problems()] == where


# Taking apart

names = st.one_of(
    st.text(max_size=8), st.sampled_from(["host", "fields", "tags", "source", "ts", '"', "\\", "},", "{"])
)
texts = st.one_of(names, st.sampled_from(['},"fields":', ',"tags":{', ',"host":"x"', '"}', "\\"]))
payloads = st.dictionaries(
    names, st.recursive(st.integers() | texts, lambda inner: st.dictionaries(names, inner), max_leaves=5)
)


@settings(deadline=None)
@given(source=texts, tags=st.dictionaries(texts, texts), fields=payloads, ascii_only=st.booleans())
def test_any_record_comes_apart_where_it_was_joined(
    source: str, tags: dict[str, str], fields: dict[str, Any], ascii_only: bool
) -> None:
    payload = json.dumps(fields, ensure_ascii=ascii_only).encode()
    text = b'{"ts":%d%b%b}' % (TS, middle(source, tags), payload)
    parts = cut(text)
    assert (time_of(text), fields_of(text)) == (parts.ts, parts.fields)
    assert (parts.ts, json.loads(parts.source), json.loads(parts.tags), parts.fields) == (
        b"1700000000123", source, tags, payload,
    )  # fmt: skip
    host = host_of(text)
    assert (json.loads(host) if host else None) == tags.get("host")
    assert {name: json.loads(value) for name, value in members(parts.fields).items()} == fields
    added = json.loads(with_missing(parts.fields, [(Key("host", b'"host"'), b'"ours"'), (Key("\\", rb'"\\"'), b"1")]))
    assert added == {"host": "ours", "\\": 1} | fields


@settings(deadline=None)
@given(tags=st.dictionaries(texts, texts), fields=payloads, separator=st.sampled_from(["_", ".", ""]))
def test_flat_keeps_every_leaf_whatever_the_names(tags: dict[str, str], fields: dict[str, Any], separator: str) -> None:
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict) and value:
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [value]

    text = b'{"ts":%d%b%b}' % (TS, middle("s", tags), json.dumps(fields).encode())
    flat = json.loads(obsrv(shape="flat", separator=separator).encode(run_of([text])))
    kept = sorted(map(repr, flat.values()))
    numbers = [str(leaf) if isinstance(leaf, int) and abs(leaf) > 2**53 - 1 else leaf for leaf in leaves(fields)]
    expected = [TS, "s", *tags.values(), *(numbers if fields else [])]
    assert kept == sorted(map(repr, expected))
