"""
The shapes that bodies are checked against: members with their types, and what a body has beside them.

A check reads a value and notes every mistake with its place, such as nodes[2].parentNodeIds[0].
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.errors import Problem, Rejected
from agent.ncloud.account import Api

BOTH: frozenset[Api] = frozenset({"2024", "2026"})
OLD: frozenset[Api] = frozenset({"2024"})
NEW: frozenset[Api] = frozenset({"2026"})
NEVER: frozenset[Api] = frozenset()

DEEPEST = 64  # levels; no documented body has ten
_SHOWN = 60  # characters of a value that a message repeats


class BadBody(Rejected):
    """A body was not sent, because it has mistakes; all of them are listed."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


# What answers hold and requests do not: whoever edits what a command showed is told what to take away.
_ANSWERED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("jobId", "workflowId", "triggerId", "resourceId", "createdDate", "updatedDate", "lastExecutionDate"),
            *("lastExecutionStatus", "status", "disabled", "isValid", "triggerRuleType"),
        ),
        "leave it out",
    ),
    "runCondition": "in requests it is jobCondition",
}


@dataclass(slots=True)
class Reading:
    """One body being checked against the documents of one generation."""

    api: Api
    problems: list[Problem] = field(default_factory=list)

    def bad(self, place: str, text: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(place or "the body", text))

    def mistyped(self, place: str, expected: str, value: object) -> None:
        """Note a value that is not what was expected."""
        self.bad(place, f"expected {expected}, found {shown(value)}")


Check = Callable[[Reading, str, object], None]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object: what it holds, which documents know it, and which of them want it."""

    check: Check
    required: frozenset[Api] = NEVER
    known: frozenset[Api] = BOTH


Shape = Mapping[str, Member]


def shown(value: object) -> str:
    """A value as a message may show it, short."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            text = json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__)
            return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing where no known word is near."""
    import difflib  # needed after a mistake only

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def text(expected: str = "text", pattern: str = r"(?s).+") -> Check:
    """Text that a pattern matches as a whole."""
    compiled = re.compile(pattern, re.ASCII)

    def check(reading: Reading, place: str, value: object) -> None:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            reading.mistyped(place, expected, value)

    return check


def one_of(*choices: str, old: Collection[str] = ()) -> Check:
    """One of some words; `old`: those that the documents of 2024 have beside them."""

    def check(reading: Reading, place: str, value: object) -> None:
        words = (*choices, *old) if reading.api == "2024" else choices
        if not isinstance(value, str) or value not in words:
            hint = near(value.upper(), words) if isinstance(value, str) else ""
            reading.bad(place, f"expected one of {', '.join(words)}, found {shown(value)}{hint}")

    return check


def whole(low: int, high: int) -> Check:
    """A whole number within bounds."""
    said = f"a whole number of {low} to {high}"

    def check(reading: Reading, place: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            reading.mistyped(place, said, value)

    return check


def flag(reading: Reading, place: str, value: object) -> None:
    """A truth value."""
    if not isinstance(value, bool):
        reading.mistyped(place, "true or false", value)


def texts(reading: Reading, place: str, value: object) -> None:
    """An object of texts. Its values may be nobody's business: messages do not show them."""
    if not isinstance(value, dict):
        reading.mistyped(place, "an object of texts", value)
        return
    for name, item in value.items():
        if not isinstance(item, str):
            reading.bad(f"{place}.{name}", f"expected text, found {type(item).__name__}: put it into quotes")


def list_of(item: Check, *, least: int = 0) -> Check:
    """A list whose items are all alike."""

    def check(reading: Reading, place: str, value: object) -> None:
        if not isinstance(value, list):
            reading.mistyped(place, "a list", value)
            return
        if len(value) < least:
            reading.bad(place, f"expected at least {least}, found {len(value)}")
        for index, each in enumerate(value):
            item(reading, f"{place}[{index}]", each)

    return check


def table(shape: Shape, *, rest: Literal["told", "near", "passed"] = "told") -> Check:
    """
    An object with these members.

    `rest`, for a member that the shape has not: told as a mistake; or told only where it looks like a slip of a known
    one, since the documents show more than was read; or passed as it is.
    """

    def check(reading: Reading, place: str, value: object) -> None:
        if not isinstance(value, dict):
            reading.mistyped(place, "an object", value)
            return
        inner = f"{place}." if place else ""
        expected = {name: member for name, member in shape.items() if reading.api in member.known}
        for name, item in value.items():
            if name in expected:
                expected[name].check(reading, inner + name, item)
            elif name in shape:
                (only,) = shape[name].known
                reading.bad(inner + name, f'is in the documents of {only} alone: leave it out, or set api = "{only}"')
            elif rest != "passed" and name in _ANSWERED:
                reading.bad(inner + name, f"is in answers alone: {_ANSWERED[name]}")
            elif rest != "passed" and ((hint := near(str(name), expected)) or rest == "told"):
                known = hint or f"; expected {', '.join(expected)}"
                reading.bad(f"{inner}{name}", f"no such field{known}")
        for name, member in expected.items():
            if reading.api in member.required and name not in value:
                reading.bad(inner + name, "is required, and missing")

    return check


def plain(reading: Reading, place: str, value: object, depth: int = 0) -> None:
    """What JSON can hold, and any far side can read: also within what is passed as it is."""
    match value:
        case None | bool():
            pass
        case str():
            if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
                reading.bad(place, "expected text that UTF-8 can write")
        case int():
            if not -(2**63) <= value < 2**63:
                reading.bad(place, "expected a number of 64 bits, found a larger one")
        case float():
            if not math.isfinite(value):
                reading.bad(place, f"expected a number that JSON can hold, found {value}")
        case dict() | list() if depth >= DEEPEST:
            reading.bad(place, f"is nested deeper than {DEEPEST} levels")
        case dict():
            for name, item in value.items():
                if not isinstance(name, str):
                    reading.bad(place, f"expected names that are text, found {shown(name)}")
                plain(reading, f"{place}.{name}" if place else str(name), item, depth + 1)
        case list():
            for index, item in enumerate(value):
                plain(reading, f"{place}[{index}]", item, depth + 1)
        case _:
            reading.bad(place, f"expected a value that JSON has, found {type(value).__name__}")
