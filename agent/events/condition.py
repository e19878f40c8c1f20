"""What a rule asks of a field, as `host.disk.used_percent > 90` has it: read once, asked of every sample."""

from __future__ import annotations

import json
import math
import operator as operators
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | str | bool

EXAMPLE = "host.disk.used_percent > 90"

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_COMPONENT = rf'{_QUOTED}|[^\s".]+'
_WHOLE = re.compile(rf'(?P<left>(?:{_QUOTED}|[^"<>=!]|!(?!=))*)(?P<operator>[<>=!]+)(?P<right>.*)', re.DOTALL)
_LEFT = re.compile(rf"(?:{_COMPONENT})(?:\.(?:{_COMPONENT}))*")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operators.gt,
    ">=": operators.ge,
    "<": operators.lt,
    "<=": operators.le,
    "==": operators.eq,
    "!=": operators.ne,
}
_OPPOSITE = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}
_MEANT = {"=": "==", "=>": ">=", "=<": "<=", "<>": "!=", "!": "!=", "===": "=="}
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of certain sources, compared with a value."""

    source: str  # a glob
    path: tuple[str, ...]
    operator: str
    threshold: Value

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read one. Raises ValueError with what was expected and what was found."""
        whole = _WHOLE.fullmatch(text.strip())
        if whole is None:
            raise ValueError(f"expected a field, an operator and a value, such as {EXAMPLE}, found {_shown(text)}")
        source, path = _field(whole["left"].strip())
        return cls(source, path, *_comparison(whole["operator"], whole["right"].strip()))

    @classmethod
    def parse_clear(cls, text: str, when: Condition) -> Condition:
        """Read what ends the state that `when` begins: of the same field, which may be left out (`< 85`)."""
        if text.strip()[:1] in tuple("<>=!"):
            whole = _WHOLE.fullmatch(text.strip())
            if whole is None:
                raise ValueError(f'expected an operator and a value, such as "< 85", found {_shown(text)}')
            clear = cls(when.source, when.path, *_comparison(whole["operator"], whole["right"].strip()))
        else:
            clear = cls.parse(text)
        if (clear.source, clear.path) != (when.source, when.path):
            raise ValueError(
                f"expected a condition of the same field as when, {when.source}.{when.field}, "
                f"found {clear.source}.{clear.field}"
            )
        if _kind(clear.threshold) is not _kind(when.threshold):
            raise ValueError(
                f"expected {_WORDS[_kind(when.threshold)]} as in when, found {_shown(_literal(clear.threshold))}"
            )
        return clear

    @property
    def field(self) -> str:
        """The path as one name."""
        return ".".join(self.path)

    @property
    def negation(self) -> Condition:
        """What holds whenever this one does not, of values of its kind."""
        return Condition(self.source, self.path, _OPPOSITE[self.operator], self.threshold)

    def holds(self, value: object) -> bool | None:
        """Whether it holds for a value; None for one that says nothing: of another kind, or no number."""
        threshold = self.threshold
        if isinstance(threshold, (bool, str)):
            if type(value) is not type(threshold):
                return None
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
            return None
        return _OPERATORS[self.operator](value, threshold)

    def value_in(self, fields: Mapping[str, Any]) -> object:
        """The value of the field: of that very name, or down the dotted path. None where there is none."""
        here: object = fields
        for n, part in enumerate(self.path):
            if not isinstance(here, dict):
                return None
            rest = ".".join(self.path[n:]) if n + 1 < len(self.path) else part
            if (found := here.get(rest, _MISSING)) is not _MISSING:
                return found
            here = here.get(part)
        return None

    def __str__(self) -> str:
        return f"{self.source}.{self.field} {self.operator} {_literal(self.threshold)}"


def meet(one: Condition, other: Condition) -> Value | None:
    """A value for which both conditions of a field hold, if there is any."""
    candidates: set[Value] = {one.threshold, other.threshold}
    if isinstance(one.threshold, str):
        candidates.add(f"{one.threshold}{other.threshold}-")  # any text that is neither
    elif isinstance(one.threshold, bool):
        candidates = {True, False}
    elif not isinstance(other.threshold, str):
        # Between the two thresholds, and beyond each of them: nowhere else can anything begin to hold.
        low, high = sorted((one.threshold, other.threshold))
        candidates |= {low - 1, low - 1 - abs(low), (low + high) / 2, high + 1, high + 1 + abs(high)}
    fitting = [value for value in candidates if one.holds(value) and other.holds(value)]
    return min(fitting, key=lambda value: (len(str(value)), str(value)), default=None)


def _field(left: str) -> tuple[str, tuple[str, ...]]:
    if not _LEFT.fullmatch(left):
        raise ValueError(
            f"expected a field such as host.disk.used_percent before the operator, found {_shown(left)}"
            + ('; put names with blanks in quotes: mqtt.plant."oil level"' if " " in left else "")
        )
    parts = re.findall(_COMPONENT, left)
    if len(parts) < 3:
        raise ValueError(
            "expected a source of two parts and a field of it, such as host.disk.used_percent or mqtt.plant.level, "
            f"found {_shown(left)}"
        )
    for part in parts[2:]:
        if part[0] != '"' and re.search(r"[*?\[]", part):
            raise ValueError(f"only the source may be a glob: found {_shown(part)} in the field")
    first, second, *path = (_unquoted(part) for part in parts)
    return f"{first}.{second}", tuple(path)


def _comparison(operator: str, right: str) -> tuple[str, Value]:
    if operator not in _OPERATORS:
        meant = _MEANT.get(operator)
        near = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"expected one of {', '.join(_OPERATORS)}, found {operator}{near}")
    value = _value(right)
    if isinstance(value, (bool, str)) and operator not in ("==", "!="):
        raise ValueError(f"{operator} compares numbers: expected == or != before {_shown(right)}")
    return operator, value


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        number = float(text) if re.search(r"[.eE]", text) else int(text)
        if math.isfinite(number):
            return number
    if re.fullmatch(_QUOTED, text):
        return _unquoted(text)
    if re.fullmatch(r"'[^']*'", text):
        return text[1:-1]
    hint = ""
    if re.fullmatch(r"[+-]?[\d.]+\s*[^\d\s.]+", text):
        hint = "; numbers stand without a unit"
    elif re.fullmatch(r"\w+", text):
        hint = "; a text stands in quotes"
    raise ValueError(f'expected a number, "text", true or false after the operator, found {_shown(text)}{hint}')


def _unquoted(text: str) -> str:
    if text[0] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        raise ValueError(f"expected a text in quotes, with \\ only as JSON has it, found {text}") from None


_WORDS: dict[type, str] = {bool: "true or false", str: "a text", float: "a number"}


def _kind(value: Value) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _literal(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(text: str) -> str:
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'
