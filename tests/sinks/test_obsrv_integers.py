"""Whole numbers beyond 2^53 - 1 become strings, to the digit, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sinks.obsrv.integers import exact_integers

LARGEST = 2**53 - 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"i":9007199254740991}', b'{"i":9007199254740991}'),
        (b'{"i":9007199254740992}', b'{"i":"9007199254740992"}'),
        (b'{"i":-9007199254740991}', b'{"i":-9007199254740991}'),
        (b'{"i":-9007199254740992}', b'{"i":"-9007199254740992"}'),
        (b'{"u":18446744073709551615}', b'{"u":"18446744073709551615"}'),
        (b'{"ns":1668591949682123456,"ms":1668591949682}', b'{"ns":"1668591949682123456","ms":1668591949682}'),
        (b"[1668591949682123456,1668591949682123457]", b'["1668591949682123456","1668591949682123457"]'),
        (b'{"d":1.0,"z":-0.0,"e":1e300,"f":0.30000000000000004}',) * 2,
        (b"[12345678901234567.0,12345678901234567e1,1E-0000000000000000001]",) * 2,
        (b'{"s":"1668591949682123456"}', b'{"s":"1668591949682123456"}'),
        (b'{"s":"at: 1668591949682123456, or so"}', b'{"s":"at: 1668591949682123456, or so"}'),
        (b'{"s":"\\": 1668591949682123456,"}', b'{"s":"\\": 1668591949682123456,"}'),
        (b'{"s":"\\\\","i": 1668591949682123456}', b'{"s":"\\\\","i": "1668591949682123456"}'),
        (b'{"s":"\\\\\\", 1668591949682123456,","i":1668591949682123456 }',
         b'{"s":"\\\\\\", 1668591949682123456,","i":"1668591949682123456" }'),
        (b"1668591949682123456", b'"1668591949682123456"'),
        (b"-1668591949682123456", b'"-1668591949682123456"'),
        (b"0", b"0"),
        (b"{}", b"{}"),
    ],
)  # fmt: skip
def test_a_whole_number_is_a_string_exactly_where_a_double_would_lose_digits(before: bytes, after: bytes) -> None:
    assert exact_integers(before) == after


def expected(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int() if abs(value) > LARGEST:
            return str(value)
        case dict():
            return {key: expected(item) for key, item in value.items()}
        case list():
            return [expected(item) for item in value]
        case _:
            return value


integers = st.one_of(
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.integers(LARGEST - 3, LARGEST + 3),
    st.integers(-LARGEST - 3, -LARGEST + 3),
    st.integers(10**14, 10**18),
)
# Texts that look as much like numbers between separators as they can.
texts = st.one_of(st.text(), st.text('0123456789,:[]{}-.eE"\\ ', max_size=60), integers.map(lambda i: f'", {i}, "\\'))
scalars = st.one_of(st.none(), st.booleans(), integers, st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\t:\r\n")])


@settings(max_examples=400, deadline=None)
@given(value=values, ascii_only=st.booleans(), between=separators)
def test_any_json_keeps_its_meaning_but_for_such_numbers(
    value: Any, ascii_only: bool, between: tuple[str, str]
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=between).encode("utf-8", "surrogatepass")
    exact = exact_integers(text)
    # Floats are compared as they are written: they must not have changed by a byte.
    assert json.loads(exact, parse_float=repr) == expected(json.loads(text, parse_float=repr))
    assert exact_integers(exact) == exact
