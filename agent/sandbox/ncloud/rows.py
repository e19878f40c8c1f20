"""
What becomes of one record of SendData, which tells its sender nothing about it.

Metrics and dimensions stand side by side; which is which, and of what type, says the schema. A field that the schema
does not have, or a value of another type than it says, is left out without a word. A row whose id dimension is
missing belongs to no target: nothing can be asked of it afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.sandbox.ncloud.schemas import Field, Schema

Value = int | float | str
_RANGES = {"INTEGER": 2**31, "LONG": 2**63}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record as stored."""

    cw_key: str
    at: int  # ms, what it is aggregated by
    arrived: int  # ms, the far side's clock
    request: int  # position of its request in the books
    target: str | None  # the values of the id dimensions; None: untargeted
    dimensions: Mapping[str, str]
    metrics: Mapping[str, Value]
    region: str | None = None
    aggregated: bool = True
    dropped: Mapping[str, str] = field(default_factory=dict)  # field name -> "unknown" or "mistyped"


@dataclass(slots=True)
class Sorted:
    """The fields of a record, told apart."""

    dimensions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Value] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def mistyped(self) -> bool:
        return "mistyped" in self.dropped.values()


def sort(schema: Schema, record: Mapping[str, object]) -> Sorted:
    """Which of its fields count, and why the others do not."""
    found = Sorted()
    for name, value in record.items():
        known = schema.find(name)
        if known is None:
            found.dropped[name] = "unknown"
        elif not isinstance(value, int | float | str) or not _fits(known, value):
            found.dropped[name] = "mistyped"
        elif known.metric:
            found.metrics[name] = value
        else:
            found.dimensions[name] = str(value)
    return found


def target(schema: Schema, dimensions: Mapping[str, str]) -> str | None:
    """What the row is about; None where a part of it is missing or empty."""
    values = [dimensions.get(name, "") for name in schema.identity]
    return "|".join(values) if all(values) else None


def _fits(known: Field, value: Value) -> bool:
    match known.data_type:
        case "STRING":
            return isinstance(value, str)
        case "FLOAT":
            return isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
        case kind:
            limit = _RANGES[kind]
            return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest double
        return False
