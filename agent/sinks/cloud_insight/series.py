"""Many values into one: those of a minute, then those of several instances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from agent.sinks.cloud_insight.feeds import Measure, Origin
from agent.sinks.cloud_insight.schema import DataType, Function

Value = int | float | str

_RANGES = {"INTEGER": 2**31, "LONG": 2**63}


class Series:
    """The values of one metric in one stream of records. What they become is asked for at the end."""

    __slots__ = ("_count", "_first", "_gained", "_high", "_is_plain", "_last", "_low", "_origin", "_total", "_until")

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._count = 0
        self._total: int | float = 0
        self._low: int | float = math.inf
        self._high: int | float = -math.inf
        self._gained: int | float = 0
        self._first = 0
        self._until = 0
        self._last: Value | None = None
        self._is_plain = True  # numbers alone: no text, no true or false

    @property
    def until(self) -> int:
        """The time of the newest value."""
        return self._until

    def add(self, ts: int, value: object) -> bool:
        """Take a value in; False: it is nothing that a metric can hold."""
        if isinstance(value, bool):
            value, self._is_plain = int(value), False
        if isinstance(value, str):
            self._is_plain = False
        elif isinstance(value, int | float):
            if self._origin.convert is not None:
                value = self._origin.convert(ts, value)
            self._number(ts, value)
        else:
            return False
        if self._last is None or ts >= self._until:
            self._last, self._until = value, ts
        return True

    def _number(self, ts: int, value: float) -> None:
        before = self._last
        if self._count == 0:
            self._first = ts
        elif ts > self._until and not isinstance(before, str) and before is not None:
            # A counter that runs backwards was reset, and has counted from 0 since.
            self._gained += value - before if value >= before else value
        self._count += 1
        self._total += value
        self._low, self._high = min(self._low, value), max(self._high, value)

    @property
    def function(self) -> Function:
        """What is made of them: as it is wanted, else what suits them."""
        return self._origin.rollup or ("avg" if self._is_plain else "last")

    def value(self) -> Value | None:
        """What they become; None where there is nothing to say."""
        function = self.function
        if function == "last":
            return self._last
        if not self._count:
            return None
        match function:
            case "avg":
                return self._total / self._count
            case "max":
                return self._high
            case "min":
                return self._low
            case "sum":
                return self._total
            case "rate":
                passed = self._until - self._first
                return self._gained * 1000 / passed if passed > 0 else None


def combined(several: Sequence[Series], measure: Measure) -> Value | None:
    """One value out of those of several instances, of the metric's type. Raises ValueError where it has no room."""
    found = [(series, value) for series in several if (value := series.value()) is not None]
    if not found:
        return None
    newest, one = max(found, key=lambda each: each[0].until)
    numbers = [value for _, value in found if not isinstance(value, str)]
    how = measure.across or ("sum" if newest.function == "rate" else newest.function)
    if len(numbers) > 1 and how != "last":
        one = _FOLDS[how](numbers)
    return typed(one, measure.type)


_FOLDS: Mapping[str, Callable[[list[int | float]], int | float]] = {
    "avg": lambda values: sum(values) / len(values),
    "max": max,
    "min": min,
    "sum": sum,
}


def typed(value: Value, kind: DataType | None) -> Value:
    """The value as a metric of that type holds it. Raises ValueError where it cannot."""
    if kind == "STRING":
        return str(value)
    if isinstance(value, str):
        if kind is not None:
            raise ValueError("a text, where a number is wanted")
        return value
    if not math.isfinite(value):
        raise ValueError("no finite number")
    match kind:
        case "FLOAT":
            return float(value)
        case "INTEGER" | "LONG":
            whole = round(value)
            if not -_RANGES[kind] <= whole < _RANGES[kind]:
                raise ValueError(f"beyond {kind}")
            return whole
        case None:
            if isinstance(value, int) and not -_RANGES["LONG"] <= value < _RANGES["LONG"]:
                raise ValueError("beyond LONG")
            return value
