"""
JSON as the far side's Node reads it: every number becomes a double, and a mistake is told in V8's words.

What a value is after `parse` is what would be stored: 1668591949682123456 is 1668591949682123500, 1e400 is
null, -0.0 is 0, the last of two equal keys wins.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from math import isinf
from typing import NoReturn

CONTEXT = 10  # characters V8 shows on either side of an unexpected token
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', re.DOTALL)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = " \t\n\r"


class JsonError(ValueError):
    """The text is no JSON; the message is V8's."""


def parse(text: str) -> object:
    """What JSON.parse makes of `text`, with the numbers as JSON.stringify would write them again."""
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(_message(text, error)) from None
    except _ConstantError:
        raise JsonError(_constant(text)) from None
    except RecursionError:
        raise JsonError("Maximum call stack size exceeded") from None


def number(text: str) -> int | float | None:
    """The double that `text` stands for, as JSON.stringify prints it; None for what it prints as null."""
    value = float(text)
    if isinf(value):
        return None
    if value.is_integer() and abs(value) < 1e21:
        # JavaScript prints the shortest digits that name the double, then zeros: not its exact value.
        return int(Decimal(repr(value)))
    return value


def unexpected(text: str, at: int) -> str:
    """V8's sentence about a token that cannot stand at that place."""
    if at >= len(text):
        return "Unexpected end of JSON input"
    low, high = max(0, at - CONTEXT), min(len(text), at + CONTEXT)
    before, after = "..." if at >= CONTEXT else "", "..." if high < len(text) else ""
    if len(text) <= 2 * CONTEXT:
        low, high, before, after = 0, len(text), "", ""
    if text[at].isdigit() or text[at] in '-"':
        return _place("Unexpected string" if text[at] == '"' else "Unexpected number", at)
    return f"Unexpected token '{text[at]}', {before}\"{text[low:high]}\"{after} is not valid JSON"


class _ConstantError(Exception):
    """NaN or Infinity: Python's parser takes them."""


def _integer(text: str) -> int | float | None:
    return int(text) if len(text) < 16 else number(text)


def _refuse(_: str) -> NoReturn:
    raise _ConstantError


_decoder = json.JSONDecoder(parse_int=_integer, parse_float=number, parse_constant=_refuse)


def _constant(text: str) -> str:
    for match in _STRING_OR_CONSTANT.finditer(text):
        if match[0][0] == "-":
            return f"No number after minus sign in JSON at position {match.start() + 1}"
        if match[0][0] != '"':
            return unexpected(text, match.start())
    raise AssertionError("a constant was met and is not there")


def _message(text: str, error: json.JSONDecodeError) -> str:
    """V8's message for what Python's parser found wrong."""
    at, found = error.pos, error.msg
    match found.split(" ")[:2]:
        case ["Illegal", "trailing"]:  # Python 3.13 names the comma, V8 what follows it
            at = _skip(text, at + 1)
            return (
                unexpected(text, at) if found.endswith("array") else _place("Expected double-quoted property name", at)
            )
        case ["Expecting", "property"]:
            first = text[:at].rstrip(_SPACE).endswith("{")
            return _place("Expected property name or '}'" if first else "Expected double-quoted property name", at)
        case ["Expecting", "':'"]:
            name = [match.start() for match in _STRING_OR_BRACKET.finditer(text, 0, at) if match[0][0] == '"'][-1]
            first = text[:name].rstrip(_SPACE).endswith("{")  # V8 has a sentence of its own for the first name only
            return _place("Expected ':' after property name", at) if first else unexpected(text, at)
        case ["Expecting", "','"]:
            return _after_value(text, at)
        case ["Extra", _]:
            return f"Unexpected non-whitespace character after JSON at position {at}"
        case ["Unterminated", _]:
            return _place("Unterminated string", len(text))
        case ["Invalid", "control"]:
            return _place("Bad control character in string literal", at)
        case ["Invalid", "\\escape"] | ["Invalid", "\\escape:"]:
            return _place("Bad escaped character", at + 1)
        case ["Invalid", "\\uXXXX"]:
            start = text.rindex("\\", 0, at + 1)
            digits = re.compile("[0-9a-fA-F]*").match(text, start + 2)
            return _place("Bad Unicode escape", digits.end() if digits else start + 2)
        case _:
            return _value(text, at)


def _place(what: str, at: int) -> str:
    return f"{what} in JSON at position {at}"


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _value(text: str, at: int) -> str:
    if text[at : at + 1] == "-":
        return _place("No number after minus sign", at + 1)
    for word in ("true", "false", "null"):
        if text[at : at + 1] == word[0]:
            while word and text[at : at + 1] == word[0]:
                at, word = at + 1, word[1:]
            break
    return unexpected(text, at)


def _after_value(text: str, at: int) -> str:
    here, before = text[at : at + 1], text[at - 1 : at]
    if before.isdigit() and here == "." and "." not in text[:at].rpartition(",")[2].rpartition(":")[2]:
        return _place("Unterminated fractional number", at + 1)
    if before.isdigit() and here in ("e", "E"):
        return _place("Exponent part is missing a number", at + 1 + (text[at + 1 : at + 2] in ("+", "-")))
    if before == "0" and here.isdigit():
        return _place("Unexpected number", at)
    open_brackets: list[str] = []
    for match in _STRING_OR_BRACKET.finditer(text, 0, at):
        if match[0] in "[{":
            open_brackets.append(match[0])
        elif match[0] in "]}":
            open_brackets.pop()
    if open_brackets[-1] == "[":
        return _place("Expected ',' or ']' after array element", at)
    return _place("Expected ',' or '}' after property value", at)
