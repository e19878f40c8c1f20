"""Payloads that are parsed: values, texts, tags, and the device's own time, exact to the millisecond."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors.mqtt import Subscription, Time, stamps
from agent.collectors.mqtt.payload import parser
from agent.errors import BadPayload
from agent.record import Parsed

moments = st.integers(stamps.EARLIEST, stamps.LATEST - 1)


def parse(payload: bytes, **options: Any) -> list[Parsed]:
    made = parser(Subscription(topic="t", **options), lambda: None)
    assert made is not None
    return list(made(payload))


def test_plain_json_is_left_to_intake() -> None:
    assert parser(Subscription(topic="t"), lambda: None) is None


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (b"21.5", b'{"value":21.5}'),
        (b" 21.50\r\n", b'{"value":21.50}'),
        (b"18446744073709551615", b'{"value":18446744073709551615}'),
        (b"+5", b'{"value":5}'),
        (b"-007.5", b'{"value":-7.5}'),
        (b".5", b'{"value":0.5}'),
        (b"5.", b'{"value":5}'),
        (b"0", b'{"value":0}'),
        (b"000", b'{"value":0}'),
        (b"1e3", b'{"value":1e3}'),
        (b"0e0", b'{"value":0e0}'),
        (b"TRUE", b'{"value":true}'),
        (b"false", b'{"value":false}'),
        (b'"open"', b'{"value":"open"}'),
    ],
)
def test_a_single_value_becomes_the_field_value(payload: bytes, fields: bytes) -> None:
    assert parse(payload, format="value") == [Parsed(fields)]
    json.loads(fields)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"  ",
        b"NaN",
        b"inf",
        b"-",
        b".",
        b"+",
        b"e5",
        b".e5",
        b"1e400",
        b"open",
        b"1 2",
        b"0x1f",
        b'"a',
        b"\xff",
        b"null",
        b"{}",
    ],
)
def test_what_is_no_value_is_a_bad_payload(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        parse(payload, format="value")


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    raw = text.encode("utf-8", "replace")
    [record] = parse(raw, format="text")
    assert orjson.loads(record.fields) == {"value": raw.decode()}


def test_text_that_is_not_utf_8_is_a_bad_payload() -> None:
    with pytest.raises(BadPayload, match="byte 1"):
        parse(b"a\xff", format="text")


@given(st.binary(max_size=200), st.sampled_from(["value", "text", "json"]))
def test_no_payload_raises_anything_but_bad_payload(payload: bytes, form: Any) -> None:
    options = {"tag_keys": ("a",), "time": Time(key="t", format="ms")} if form == "json" else {}
    try:
        for record in parse(payload, format=form, **options):
            assert isinstance(orjson.loads(record.fields), dict)
    except BadPayload:
        pass


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8),
    )
)
def test_the_fields_stay_the_bytes_that_the_device_sent(payload: dict[str, Any]) -> None:
    try:
        raw = json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text
    [record] = parse(raw, tag_keys=("no such key",))
    assert json.loads(record.fields) == payload


def test_keys_become_tags_and_stay_in_the_payload() -> None:
    payload = b'{"line":"press","head":{"nr":7},"a.b":true,"none":null,"t":1700000000123}'
    [record] = parse(payload, tag_keys=("line", "head.nr", "a.b", "none", "gone"), time=Time(key="t", format="ms"))
    assert record == Parsed(payload, 1_700_000_000_123, {"line": "press", "head.nr": "7", "a.b": "true"})


def test_an_array_gives_a_record_each_with_its_own_time() -> None:
    payload = b'[{"t":1700000001,"v":1},{"t":1700000002.5,"v":2}]'
    records = parse(payload, time=Time(key="t", format="s"))
    assert [record.ts_ms for record in records] == [1_700_000_001_000, 1_700_000_002_500]
    assert [record.fields for record in records] == [b'{"t":1700000001,"v":1}', b'{"t":1700000002.5,"v":2}']


def test_a_tag_that_is_no_single_value_is_a_bad_payload() -> None:
    with pytest.raises(BadPayload, match="line"):
        parse(b'{"line":[1]}', tag_keys=("line",))


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"t":"soon"}', b'{"t":5}', b'{"t":null}', b'{"t":{}}', b"7", b'{"t":1e999999999}']
)
def test_a_bad_time_is_arrival_or_a_dead_letter_as_asked(payload: bytes) -> None:
    counted: list[int] = []
    made = parser(Subscription(topic="t", time=Time(key="t", format="ms")), lambda: counted.append(1))
    assert made is not None
    if b"e999" in payload:  # no number that any parser downstream could take
        with pytest.raises(BadPayload):
            made(payload)
        return
    [record] = made(payload)
    assert record.ts_ms is None
    assert counted == [1]
    with pytest.raises(BadPayload, match="the time t"):
        parse(payload, time=Time(key="t", format="ms", bad="dead_letter"))


# Times.


@given(moments, st.integers(0, 999_999))
def test_nanoseconds_are_exact_to_the_last_digit(ms: int, rest: int) -> None:
    assert stamps.reader("ns", "")(str(ms * 1_000_000 + rest)) == ms


@given(moments, st.integers(0, 999))
def test_microseconds_are_exact_to_the_last_digit(ms: int, rest: int) -> None:
    assert stamps.reader("us", "")(str(ms * 1000 + rest)) == ms


@given(moments, st.text("0123456789", max_size=12))
def test_decimals_are_cut_and_never_rounded(ms: int, more: str) -> None:
    assert stamps.reader("s", "")(f"{ms // 1000}.{ms % 1000:03}{more}") == ms
    assert stamps.reader("ms", "")(f"{ms}.{more or '0'}") == ms


@given(moments, st.integers(14, 17))
def test_exponents_are_numbers_too(ms: int, digits: int) -> None:
    assert stamps.reader("ms", "")(f"{Decimal(ms):.{digits}e}") == int(Decimal(f"{Decimal(ms):.{digits}e}"))


@given(moments, st.integers(-24 * 60 + 1, 24 * 60 - 1), st.integers(0, 9), st.sampled_from("Tt "))
def test_rfc_3339_is_read_with_any_offset_and_any_fraction(ms: int, offset: int, digits: int, between: str) -> None:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    try:
        local += timedelta(minutes=offset)
    except OverflowError:
        return
    fraction = f".{ms % 1000:03}000000"[: digits + 1] if digits else ""
    sign = "-" if offset < 0 else "+"
    text = f"{local:%Y-%m-%d}{between}{local:%H:%M:%S}{fraction}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    kept = int(f"{ms % 1000:03}"[:digits].ljust(3, "0"))
    assert stamps.reader("rfc3339", "")(text) == ms // 1000 * 1000 + kept


@pytest.mark.parametrize(
    ("text", "tz", "ms"),
    [
        ("2024-05-01T12:00:00Z", "", 1_714_564_800_000),
        ("2024-05-01t12:00:00.123456789z", "", 1_714_564_800_123),
        ("2024-05-01 21:00:00", "Asia/Seoul", 1_714_564_800_000),
        ("2024-05-01T12:00:00Z", "Asia/Seoul", 1_714_564_800_000),  # it names a zone itself
        ("2016-12-31T23:59:60Z", "", 1_483_228_800_000),  # a leap second
    ],
)
def test_rfc_3339_examples(text: str, tz: str, ms: int) -> None:
    assert stamps.reader("rfc3339", tz)(text) == ms


@given(st.datetimes(datetime(2000, 1, 2), datetime(2037, 12, 31)))  # noqa: DTZ001 local: that is the point
def test_local_texts_are_read_in_their_zone(local: datetime) -> None:
    # Seoul has been nine hours ahead of UTC, all year, since 1988.
    read = stamps.reader("%Y-%m-%d %H:%M:%S.%f", "Asia/Seoul")
    expected = (local.replace(tzinfo=UTC) - timedelta(hours=9) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )
    assert read(local.strftime("%Y-%m-%d %H:%M:%S.%f")) == expected


def test_the_hours_that_summer_time_repeats_and_skips_are_read_as_documented() -> None:
    read = stamps.reader("%Y-%m-%d %H:%M", "Europe/Berlin")
    # 2024-10-27 02:30 comes twice: the first pass, at +02:00, is meant.
    assert read("2024-10-27 02:30") == int(datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp() * 1000)
    # 2024-03-31 02:30 never comes: it is read with the offset before, +01:00.
    assert read("2024-03-31 02:30") == int(datetime(2024, 3, 31, 1, 30, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("ms", ""), ("ms", "0"), ("ms", "1e99"), ("ms", "nan"), ("ms", "Infinity"), ("ms", "1" * 1000),
        ("ms", "1700000000"), ("s", "1700000000123"), ("ns", "1700000000123"), ("ms", "1.7e-99999"),
        ("ms", "١٧٠٠٠٠٠٠٠٠٠٠٠"), ("ms", "1_700_000_000_000"), ("ms", "1700000000000e999999999"),
        ("rfc3339", "2024-05-01"), ("rfc3339", "2024-05-01T12:00:00"), ("rfc3339", "2024-13-01T12:00:00Z"),
        ("rfc3339", "2024-05-01T12:00:00+25:00"), ("rfc3339", "2024-05-01T12:00:00+09:99"), ("%Y-%m-%d", "yesterday"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_a_value_error(form: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        stamps.reader(form, "UTC" if "%" in form else "")(text)


@given(st.text(max_size=40), st.sampled_from(["ms", "s", "us", "ns", "rfc3339", "%Y-%m-%d %H:%M:%S"]))
def test_no_text_raises_anything_but_a_value_error(text: str, form: str) -> None:
    try:
        found = stamps.reader(form, "Asia/Seoul" if "%" in form else "")(text)
        assert stamps.EARLIEST <= found < stamps.LATEST
    except (ValueError, OverflowError):
        pass


@pytest.mark.parametrize("odd", [b'"\\ud83d"', b'{"\\udc00":1}', b'["x\\ud800y"]'])
def test_half_a_surrogate_pair_anywhere_costs_neither_time_nor_tags(odd: bytes) -> None:
    payload = b'{"line":"a","at":1795000000123,"odd":' + odd + b"}"
    subscription = Subscription(topic="t", tag_keys=("line",), time=Time(key="at", format="ms"))
    parse = parser(subscription, lambda: None)
    assert parse is not None
    (record,) = parse(payload)
    assert (record.ts_ms, record.tags, record.fields) == (1795000000123, {"line": "a"}, payload)


def test_half_a_surrogate_pair_within_a_tag_becomes_a_question_mark() -> None:
    parse = parser(Subscription(topic="t", tag_keys=("line",)), lambda: None)
    assert parse is not None
    (record,) = parse(b'{"line":"a\\ud83d"}')
    assert record.tags == {"line": "a?"}
    assert orjson.dumps(record.tags)
