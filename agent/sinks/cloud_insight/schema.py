"""What an operator says of a schema: whose rows it takes, from which records, and what becomes of each field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from agent.schema import OneOrMore, option
from agent.sinks.cloud_insight.keys import KEY, file_problems, file_warnings, key_problems, named

Function = Literal["avg", "max", "min", "last", "sum", "rate"]
Across = Literal["avg", "max", "min", "last", "sum"]
DataType = Literal["FLOAT", "LONG", "INTEGER", "STRING"]

RESERVED = "mbrNo"  # CreateCustomSchema: no dimension may have this name
TIMESTAMP = "timestamp"
TAGS = "tags."

_NAME = re.compile(r"[^\s\"\\\x00-\x1f]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """A dimension whose value is always the same."""

    text: str = option("Its value.", example="seoul-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of a schema: which values it is made of, and how several of them become one."""

    field: str = option("Field it comes from; dots lead into nested objects.", example="usage_active")
    source: OneOrMore = option("Sources of the records that have it (globs).", ("*",), example="host.cpu")
    where: dict[str, OneOrMore] = option(
        "Tags those records must have: tag = glob or list of globs.", factory=dict, example={"cpu": "cpu-total"}
    )
    rollup: Function | None = option(
        "How the values of one minute become one: avg, max, min, last, sum, or rate: what a counter gains in a second.",
        None,
        default_text="avg for numbers, last for texts, true/false and what becomes a STRING",
        example="avg",
    )
    across: Across | None = option(
        "How the values of several instances (interfaces, mounts) with the same dimensions become one.",
        None,
        default_text="the same as rollup; sum for rate",
        example="sum",
    )
    type: DataType | None = option(
        "Data type of the metric in the schema.", None, default_text="as the value is", example="FLOAT"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One custom schema of Cloud Insight, and the records that become its rows."""

    cw_key: str | int | None = option(
        "Key of the schema, in quotes.",
        None,
        default_text="required without cw_key_file",
        example="460438474722512897",
        words="a string",
    )
    cw_key_file: Path | None = option(
        "File with the key of the schema, in place of cw_key: `telemetry-agent cloud-insight schema create` writes "
        "it. Until it is there, rows wait.",
        None,
        default_text="none",
        example="/etc/telemetry-agent/fleet.cw_key",
    )
    name: str = option(
        "Product name of the schema: for messages, and for `telemetry-agent cloud-insight schema`, which makes it.",
        "",
        example="Custom/Fleet",
    )
    select: OneOrMore = option("Sources whose records feed it (globs).", ("*",), example=["host.*"])
    where: dict[str, OneOrMore] = option(
        "Tags a record must have to feed it: tag = glob or list of globs.", factory=dict, example={"site": "seoul-*"}
    )
    dimensions: dict[str, str | Fixed] = option(
        "Dimension = the tag it comes from, or fields.NAME for a field, or { text = VALUE }. A record that lacks one "
        "does not feed the schema.",
        factory=lambda: {"host": "host"},
        example={"host": "host"},
    )
    id_dimension: str | None = option(
        "The dimension that names a target.", None, default_text="the first", example="host"
    )
    metrics: dict[str, str | Metric] = option(
        "Metric = the field it comes from (nested.field, or source.field: host.mem.used_percent), or a table with "
        "field, source, where, rollup, across and type.",
        example={"mem": "host.mem.used_percent"},
    )

    @property
    def key(self) -> str:
        """What its rows are kept under: its cw_key as text, or the file of it."""
        return named(self.cw_key, self.cw_key_file)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or f"cw_key {self.key}"

    @property
    def identity(self) -> str:
        """The dimension that names a target."""
        return self.id_dimension or next(iter(self.dimensions), "")

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with it."""
        return [
            *key_problems("cw_key", self.cw_key),
            *file_problems(self.cw_key, self.cw_key_file),
            *_key_missing(self),
            *_dimension_problems(self),
            *_metric_problems(self),
        ]

    def warnings(self) -> list[tuple[str, str]]:
        """What may be meant, but rarely is."""
        return file_warnings(self.cw_key_file)


def fits(select: OneOrMore, where: Mapping[str, OneOrMore], source: str, tags: Mapping[str, str]) -> bool:
    """Whether a record of that source with those tags is meant."""
    return any(fnmatchcase(source, glob) for glob in select) and all(
        tag in tags and any(fnmatchcase(tags[tag], glob) for glob in globs) for tag, globs in where.items()
    )


def _key_missing(schema: Schema) -> Iterator[tuple[str, str]]:
    if schema.cw_key is None and schema.cw_key_file is None:
        yield "cw_key", f'required, but missing: {KEY}, or cw_key_file = "PATH"'


def _dimension_problems(schema: Schema) -> Iterator[tuple[str, str]]:
    if not schema.dimensions:
        yield "dimensions", "expected at least one: rows belong to targets, which dimensions name"
    for name, origin in schema.dimensions.items():
        if name == RESERVED:
            yield f"dimensions.{name}", f"{RESERVED} is reserved by Cloud Insight"
        elif not _NAME.fullmatch(name):
            yield "dimensions", f"expected names without blanks, found {name!r}"
        if not (origin.text if isinstance(origin, Fixed) else origin).strip():
            yield f"dimensions.{name}", "expected the name of a tag, fields.NAME, or { text = VALUE }"
        elif isinstance(origin, str) and origin.startswith(TAGS):
            yield f"dimensions.{name}", f'a tag is named without {TAGS!r}: expected "{origin.removeprefix(TAGS)}"'
    if schema.id_dimension is not None and schema.id_dimension not in schema.dimensions:
        yield "id_dimension", f"expected one of the dimensions: {', '.join(schema.dimensions)}"


def _metric_problems(schema: Schema) -> Iterator[tuple[str, str]]:
    if not schema.metrics:
        yield "metrics", "expected at least one"
    for name, metric in schema.metrics.items():
        if name in schema.dimensions:
            yield f"metrics.{name}", "is the name of a dimension already"
        elif name == RESERVED or not _NAME.fullmatch(name):
            yield "metrics", f"{name!r} cannot be the name of a metric"
        if isinstance(metric, str):
            if not metric.strip("."):
                yield f"metrics.{name}", "expected the name of a field"
            continue
        if not metric.field.strip("."):
            yield f"metrics.{name}.field", "expected the name of a field"
        if metric.type == "STRING" and metric.rollup not in (None, "last"):
            yield f"metrics.{name}.rollup", "of texts there is but the last"
        if metric.type == "STRING" and metric.across not in (None, "last"):
            yield f"metrics.{name}.across", "of texts there is but the last"
