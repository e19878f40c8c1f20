"""Numbers as doubles and mistakes in V8's words; the expectations were printed by Node 20.20."""

from __future__ import annotations

import json

import pytest

from agent.sandbox.obsrv import javascript

MESSAGES = {
    "{": "Expected property name or '}' in JSON at position 1",
    '{"id":"api.data.in",': "Expected double-quoted property name in JSON at position 20",
    '{"a" 1}': "Expected ':' after property name in JSON at position 5",
    '{"a":}': 'Unexpected token \'}\', "{"a":}" is not valid JSON',
    '{"a":1 "b":2}': "Expected ',' or '}' after property value in JSON at position 7",
    "[1 2]": "Expected ',' or ']' after array element in JSON at position 3",
    "[1,]": "Unexpected token ']', \"[1,]\" is not valid JSON",
    '{"a":1,}': "Expected double-quoted property name in JSON at position 7",
    "[": "Unexpected end of JSON input",
    '{"a":"x': "Unterminated string in JSON at position 7",
    "[01]": "Unexpected number in JSON at position 2",
    "[1.]": "Unterminated fractional number in JSON at position 3",
    "[1e]": "Exponent part is missing a number in JSON at position 3",
    "[-]": "No number after minus sign in JSON at position 2",
    '{"a":"\\q"}': "Bad escaped character in JSON at position 7",
    '{"a":"\x01"}': "Bad control character in string literal in JSON at position 6",
    '{"a":"\\u12"}': "Bad Unicode escape in JSON at position 10",
    "{} x": "Unexpected non-whitespace character after JSON at position 3",
    "[tru]": "Unexpected token ']', \"[tru]\" is not valid JSON",
    "[nul": "Unexpected end of JSON input",
    "[Infinity]": "Unexpected token 'I', \"[Infinity]\" is not valid JSON",
    "[-Infinity]": "No number after minus sign in JSON at position 2",
    '{"a":[1,2}': "Expected ',' or ']' after array element in JSON at position 9",
    '{"a":[1,2,],]b":"x"}': 'Unexpected token \']\', "{"a":[1,2,],]b":"x"}" is not valid JSON',
    '{"aaaaaaaaaaaaaaaa":x,"bbbbbbbbbbbbbbbb":1}': (
        'Unexpected token \'x\', ..."aaaaaaaa":x,"bbbbbbb"... is not valid JSON'
    ),
}
NUMBERS = {
    "1668591949682123456": "1668591949682123500",
    "18446744073709551615": "18446744073709552000",
    "9007199254740993": "9007199254740992",
    "9007199254740991": "9007199254740991",
    "1e400": "null",
    "-1e400": "null",
    "-0.0": "0",
    "-0": "0",
    "1.0": "1",
    "1e2": "100",
    "0.1": "0.1",
    "100000000000000000000": "100000000000000000000",
    "100000000000000000000000": "1e+23",
    "123456789012345678901": "123456789012345680000",
}


@pytest.mark.parametrize("text", MESSAGES)
def test_a_mistake_is_told_as_node_tells_it(text: str) -> None:
    with pytest.raises(javascript.JsonError) as error:
        javascript.parse(text)
    assert str(error.value) == MESSAGES[text]


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_becomes_the_double_that_node_would_write(text: str) -> None:
    assert json.dumps(javascript.parse(f"[{text}]")) == f"[{NUMBERS[text]}]"


def test_nesting_without_end_is_an_error_and_no_crash() -> None:
    with pytest.raises(javascript.JsonError):
        javascript.parse("[" * 100_000 + "]" * 100_000)
