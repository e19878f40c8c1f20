import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BadPayload
from agent.payload import all_plain_objects, closely

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
objects = st.dictionaries(st.text(), values, max_size=5)


def strictly(payload: bytes) -> object:
    """As JSON.parse would have it: UTF-8, no constants."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(payload.decode(), parse_constant=refuse)


@given(st.lists(st.binary(max_size=60) | objects.map(lambda value: json.dumps(value).encode()), min_size=1, max_size=5))
def test_what_is_called_plain_is_an_object_to_a_strict_parser(payloads: list[bytes]) -> None:
    if all_plain_objects(payloads):
        for payload in payloads:
            assert isinstance(strictly(payload), dict)
            assert b"\n" not in payload


@given(objects, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_every_object_comes_out_as_it_went_in(value: dict[str, object], ascii_only: bool, indent: object) -> None:
    try:
        payload = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()  # type: ignore[arg-type]
    except UnicodeEncodeError:
        return  # a lone surrogate has no UTF-8
    (taken,) = closely(payload)
    assert strictly(taken) == value
    assert not set(taken) & set(range(32))


@given(st.lists(objects, max_size=5))
def test_an_array_of_objects_is_one_record_each(value: list[dict[str, object]]) -> None:
    payload = json.dumps(value, indent=1).encode()
    assert [strictly(item) for item in closely(payload)] == value


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_come_out_as_strict_objects(payload: bytes) -> None:
    try:
        taken = closely(payload)
    except BadPayload:
        return
    assert all(isinstance(strictly(item), dict) for item in taken)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b'{"a":"\xff"}', "UTF-8 at byte 6"),
        (b'{"a":1e400}', "range of a double"),
        (b'{"a":' + b"9" * 400 + b"}", "range of a double"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1},{"b":2}', "Extra data"),
        (b'{"a":"x\ny"}', "control character"),
        (b"[1]", "not all objects"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        ('{"a":1}'.encode("utf-16-le"), "Expecting property name"),
        ("7".encode("utf-32-be"), "Expecting value"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "nested deeper than 64"),
        (b"[" * 200_000, "nested deeper than 64"),
    ],
)
def test_a_bad_payload_is_refused_beside_good_ones(payload: bytes, reason: str) -> None:
    assert not all_plain_objects([b'{"good":1}', payload, b'{"good":2}'])
    with pytest.raises(BadPayload, match=reason):
        closely(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"device":"line0001","hex":"0e1234","n":-1.5e-300}',
        b'{"a":18446744073709551615,"b":1668591949682123456}',
        b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
        '{"이름":"센서"}'.encode(),
    ],
)
def test_unusual_but_sound_payloads_stay_on_the_fast_path(payload: bytes) -> None:
    assert all_plain_objects([payload, b'{"x":1}'])
    assert closely(payload) == [payload]


def test_two_halves_of_an_object_do_not_pass_as_two_payloads() -> None:
    assert not all_plain_objects([b'{"a":1', b'"b":2},{}'])


def test_a_scalar_becomes_the_field_value_with_its_digits_kept() -> None:
    assert closely(b" 21.50\n") == [b'{"value":21.50}']


def test_an_array_without_elements_is_no_record_and_no_mistake() -> None:
    assert closely(b"[ ]") == []


def test_a_lone_surrogate_in_an_escape_is_kept() -> None:
    assert closely(b'{"a":"\\ud800"}') == [b'{"a":"\\ud800"}']
