"""
Which schemas a record feeds, worked out once for each stream of records (a source with its tags).

A record of which nothing is wanted is never parsed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from agent.sinks.cloud_insight.schema import Across, DataType, Fixed, Function, Metric, Schema, fits

FIELDS = "fields."


class Origin(NamedTuple):
    """Where the values of a metric are, and what those of one stream of records become within a minute."""

    path: str  # in the fields
    source: tuple[str, ...] = ("*",)  # globs
    where: Mapping[str, tuple[str, ...]] = {}
    rollup: Function | None = None
    convert: Callable[[int, float], float] | None = None  # time (ms) and value, before anything else is done with it


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric, which may come from several places: whichever is there."""

    name: str
    origins: tuple[Origin, ...]
    across: Across | None = None
    type: DataType | None = None
    desc: str = ""


class Table(NamedTuple):
    """A schema and its metrics."""

    schema: Schema
    measures: Sequence[Measure]
    picks: bool = False  # it takes what it needs of the records that it selects: that others are left is no news


class Wanted(NamedTuple):
    """A metric that a stream may hold: its place among the table's, and where it is."""

    place: int
    origin: Origin
    path: str


@dataclass(frozen=True, slots=True)
class Feed:
    """What one stream of records gives to one table."""

    table: int  # its place
    dimensions: tuple[str | None, ...]  # None: in the fields of each record
    paths: Sequence[str]  # where these are
    wanted: Sequence[Wanted]
    lacks: str = ""  # a dimension for which there is no tag: it can give nothing


def table_of(schema: Schema) -> Table:
    """The table of a schema as an operator wrote it."""
    return Table(schema, [_measure(name, metric) for name, metric in schema.metrics.items()])


def _measure(name: str, metric: str | Metric) -> Measure:
    if isinstance(metric, str):
        return Measure(name, (Origin(metric),))
    # The average of 404 and 500 would be a fine number, and no text that anybody sent.
    rollup = metric.rollup or ("last" if metric.type == "STRING" else None)
    origin = Origin(metric.field, metric.source, metric.where, rollup)
    return Measure(name, (origin,), metric.across, metric.type)


def feeds_of(tables: Sequence[Table], source: str, tags: Mapping[str, str]) -> list[Feed]:
    """What a stream with that source and those tags gives."""
    return [feed for place, table in enumerate(tables) if (feed := _feed(place, table, source, tags))]


def _feed(place: int, table: Table, source: str, tags: Mapping[str, str]) -> Feed | None:
    schema = table.schema
    if not fits(schema.select, schema.where, source, tags):
        return None
    wanted = [
        # "host.mem.used_percent" is used_percent in a record of host.mem.
        Wanted(n, origin, origin.path.removeprefix(f"{source}."))
        for n, measure in enumerate(table.measures)
        for origin in measure.origins
        if fits(origin.source, origin.where, source, tags)
    ]
    if not wanted:
        return None
    values: list[str | None] = []
    paths, lacks = [], ""
    for name, origin in schema.dimensions.items():
        if isinstance(origin, Fixed):
            values.append(origin.text)
        elif origin.startswith(FIELDS):
            values.append(None)
            paths.append(origin.removeprefix(FIELDS))
        else:
            values.append(tags.get(origin, ""))
            lacks = lacks or ("" if values[-1] else name)
    return Feed(place, tuple(values), paths, wanted, lacks)


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """What stands under a path: a name that is there as it is goes before one that leads into objects."""
    if path in fields:
        return fields[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = fields.get(head)
        if isinstance(inner, dict) and (value := value_at(inner, rest)) is not None:
            return value
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def parsed(text: bytes) -> Any:
    """The value of a piece of a record."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text, parse_int=_number)  # half a surrogate pair, which JSON allows


def _number(digits: str) -> int | float:
    """As orjson has it: what 64 bits cannot hold is a float, which cannot overflow what is reckoned with it."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)
