"""What a configuration comes to at the far side, in words for `check`: requests and rows a day, and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agent.sinks.cloud_insight.feeds import FIELDS, Table
from agent.sinks.cloud_insight.schema import Fixed
from agent.units import format_duration

DAY = 86400


def outlook(tables: Sequence[Table], tags: Mapping[str, str], *, rollup: float, max_rows: int) -> Iterator[str]:
    """The lines. `tags`: those that every record of this agent has."""
    every = format_duration(rollup) if rollup else "tick"
    many = [table for table in tables if _several(table, tags)]
    least = f"{DAY / rollup * len(tables):,.0f} a day" if rollup else "a day 86,400 / interval for each"
    more = f", more where a schema has over {max_rows} rows at once" if many else ""
    schemas = f"{len(tables)} schema{'s' if len(tables) > 1 else ''}"
    yield f"requests: one every {every} for each of {schemas}, {least}{more}"
    for table in tables:
        several = _several(table, tags)
        rows = f"rows: one every {every}" + (f", {DAY / rollup:,.0f} a day" if rollup else "")
        each = f" for each {_and(several)}" if several else ""
        metrics = f"{len(table.measures)} metric{'s' if len(table.measures) > 1 else ''}"
        yield f"{table.schema.label}: {rows}{each}; {metrics}; {_targets(table, tags)}"


def _several(table: Table, tags: Mapping[str, str]) -> list[str]:
    """What there may be several values of, and so several rows."""
    found = []
    for origin in table.schema.dimensions.values():
        if isinstance(origin, Fixed) or origin in tags:
            continue
        is_field = origin.startswith(FIELDS)
        found.append(f"value of the {'field' if is_field else 'tag'} {origin.removeprefix(FIELDS)}")
    return found


def _targets(table: Table, tags: Mapping[str, str]) -> str:
    """How many values the id dimension has here."""
    name = table.schema.identity
    origin = table.schema.dimensions.get(name, "")
    if isinstance(origin, Fixed):
        return f"targets: {name} = {origin.text} alone"
    if origin in tags:
        return f"targets: {name} = {tags[origin]} alone, as far as no collector or topic says otherwise"
    kind = "field" if origin.startswith(FIELDS) else "tag"
    return f"targets: one for each value of the {kind} {origin.removeprefix(FIELDS)}"


def _and(words: Sequence[str]) -> str:
    return " and each ".join(words)
