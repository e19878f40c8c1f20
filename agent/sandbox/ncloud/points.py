"""What can be read back: rows aggregated by interval, each series by its dimensions, as QueryData gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.sandbox.ncloud.rows import Row, Value
from agent.sandbox.ncloud.schemas import INTERVALS, Field


def points(
    rows: Iterable[Row],
    known: Field,
    dimensions: Mapping[str, str],
    *,
    interval: str = "Min1",
    aggregation: str = "AVG",
    across: str = "AVG",
) -> list[tuple[int, float]]:
    """
    The points (start of the interval in ms, value) of one metric.

    `aggregation` is made of the rows of one series, a series being all rows with the same dimensions; where the
    dimensions asked for leave several series, `across` is made of them. An aggregation that the schema does not
    have gives nothing.
    """
    if aggregation not in known.aggregations.get(interval, ()):
        return []
    length = INTERVALS[interval]
    series: dict[int, dict[tuple[tuple[str, str], ...], list[Value]]] = {}
    for row in rows:
        asked = all(row.dimensions.get(name) == value for name, value in dimensions.items())
        if asked and row.aggregated and row.target is not None and known.name in row.metrics:
            by_series = series.setdefault(row.at // length * length, {})
            by_series.setdefault(tuple(sorted(row.dimensions.items())), []).append(row.metrics[known.name])
    found: list[tuple[int, float]] = []
    for start, by_series in sorted(series.items()):
        made = [value for values in by_series.values() if (value := aggregate(aggregation, values)) is not None]
        if made and (value := aggregate(across, made)) is not None:
            found.append((start, value))
    return found


def aggregate(function: str, values: list[Any]) -> float | None:
    """One value out of some; None of texts, which can only be counted."""
    if function == "COUNT":
        return len(values)
    numbers: list[float] = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return None
    match function:
        case "SUM":
            return sum(numbers)
        case "MAX":
            return max(numbers)
        case "MIN":
            return min(numbers)
        case _:
            return sum(numbers) / len(numbers)
