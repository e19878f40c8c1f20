"""
Custom schemas: which fields a product has, what they may hold and how they are aggregated.

The rules are those of "FieldDto" and of CreateCustomSchema; what JSON calls things is `idDimension`, whatever the
class text says.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

INTERVALS = {"Min1": 60_000, "Min5": 300_000, "Min30": 1_800_000, "Hour2": 7_200_000, "Day1": 86_400_000}
FUNCTIONS = ("COUNT", "SUM", "MAX", "MIN", "AVG")
_METRICS = ("STRING", "INTEGER", "FLOAT", "LONG")
_EVERYTHING: Mapping[str, tuple[str, ...]] = dict.fromkeys(INTERVALS, FUNCTIONS)  # what leaving it out means


class SchemaError(ValueError):
    """It is not a schema; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One metric or dimension."""

    name: str
    data_type: str
    metric: bool = False
    dimension: bool = False
    id_dimension: bool = False
    counter: bool = False
    aggregations: Mapping[str, Sequence[str]] = field(default_factory=lambda: _EVERYTHING)
    desc: str = ""

    @classmethod
    def of(cls, row: object) -> Field:
        """Out of a FieldDto. SchemaError."""
        if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not row["name"]:
            raise SchemaError("a field needs a name")
        name, flags = row["name"], ("metric", "dimension", "idDimension", "counter")
        for flag in flags:
            if not isinstance(row.get(flag, False), bool):
                raise SchemaError(f"{name}: {flag} must be a boolean")
        metric, dimension, identity, counter = (row.get(flag, False) for flag in flags)
        if metric == dimension:
            raise SchemaError(f"{name}: either a metric or a dimension")
        if row.get("dataType") not in (_METRICS if metric else ("STRING",)):
            raise SchemaError(f"{name}: no dataType {row.get('dataType')!r} for {'a metric' if metric else 'it'}")
        if identity and not dimension:
            raise SchemaError(f"{name}: only a dimension can be the idDimension")
        if dimension and name == "mbrNo":
            raise SchemaError("mbrNo is reserved")
        aggregations = _aggregations(name, row.get("aggregations"), metric=metric)
        return cls(
            name=name,
            data_type=row["dataType"],
            metric=metric,
            dimension=dimension,
            id_dimension=identity,
            counter=counter,
            aggregations=aggregations,
            desc=str(row.get("desc") or ""),
        )

    def row(self) -> dict[str, Any]:
        """The FieldDto."""
        said = {"name": self.name, "dataType": self.data_type, "metric": self.metric, "dimension": self.dimension}
        said |= {"idDimension": self.id_dimension, "counter": self.counter, "metricType": "CUSTOM", "desc": self.desc}
        aggregations = {name: list(functions) for name, functions in self.aggregations.items()}
        return said | ({"aggregations": aggregations} if self.metric else {})


def _aggregations(name: str, given: object, *, metric: bool) -> Mapping[str, Sequence[str]]:
    if given is None or given == {}:
        return _EVERYTHING if metric else {}
    if not metric or not isinstance(given, dict) or not set(given) <= set(INTERVALS):
        raise SchemaError(f"{name}: aggregations are a metric's, by {', '.join(INTERVALS)}")
    for functions in given.values():
        if not isinstance(functions, list) or not all(item in FUNCTIONS for item in functions):
            raise SchemaError(f"{name}: aggregations out of {', '.join(FUNCTIONS)}")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One product's fields under one cw_key."""

    cw_key: str
    product: str
    fields: tuple[Field, ...]
    custom_resource: bool = False
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, row: object, cw_key: str | None = None) -> Schema:
        """Out of the body of a create or the answer of a get. SchemaError."""
        if not isinstance(row, dict) or not isinstance(name := row.get("prodName"), str):
            raise SchemaError("prodName must be a string")
        if not name.startswith("Custom/") or len(name) == len("Custom/"):
            raise SchemaError("prodName must begin with Custom/")
        key = row.get("cw_key", cw_key)
        if not isinstance(key, str) or not (key.isascii() and key.isdigit()):
            raise SchemaError("cw_key must be a string of digits")
        custom = row.get("useCustomResource", False)
        if not isinstance(custom, bool):
            raise SchemaError("useCustomResource must be a boolean")
        secret = f"{random.getrandbits(128):032x}"
        return cls(cw_key=key, product=name, fields=_fields(row), custom_resource=custom, secret=secret)

    @property
    def identity(self) -> tuple[str, ...]:
        """The dimensions that name a target."""
        return tuple(item.name for item in self.fields if item.id_dimension)

    def find(self, name: str) -> Field | None:
        return next((item for item in self.fields if item.name == name), None)

    def row(self, *, secret: bool) -> dict[str, Any]:
        """What GetProductSchema answers."""
        said: dict[str, Any] = {"cw_key": self.cw_key, "prodName": self.product}
        said["fields"] = [item.row() for item in self.fields]
        said["useCustomResource"] = self.custom_resource
        return said | ({"secret": self.secret} if secret else {})


def _fields(row: Mapping[str, Any]) -> tuple[Field, ...]:
    given = row.get("fields")
    if not isinstance(given, list) or not given:
        raise SchemaError("fields must be an array with something in it")
    fields = tuple(map(Field.of, given))
    if len({item.name for item in fields}) < len(fields):
        raise SchemaError("a field's name stands twice")
    if not any(item.id_dimension for item in fields):
        raise SchemaError("at least one dimension must be the idDimension")
    return fields


class Schemas:
    """The account's schemas."""

    def __init__(self, schemas: Iterable[Schema] = ()) -> None:
        self._schemas = {schema.cw_key: schema for schema in schemas}

    def __iter__(self) -> Iterator[Schema]:
        return iter(list(self._schemas.values()))

    def put(self, schema: Schema) -> None:
        """Add or replace by cw_key."""
        self._schemas[schema.cw_key] = schema

    def find(self, cw_key: str) -> Schema | None:
        return self._schemas.get(cw_key)

    def named(self, product: str, cw_key: str | None = None) -> Schema | None:
        """The first of that name, or the one with that key, too."""
        matches = (item for item in self if item.product == product and cw_key in (None, item.cw_key))
        return next(matches, None)

    def drop(self, cw_key: str) -> None:
        del self._schemas[cw_key]

    def fresh_key(self) -> str:
        """A new cw_key: 18 digits, too many for a double."""
        while (key := str(random.randrange(10**17, 10**18))) in self._schemas:
            continue
        return key


def merged(old: Schema, new: Schema) -> Schema:
    """The new fields, and the old ones they do not name."""
    names = {item.name for item in new.fields}
    return replace(new, fields=(*(item for item in old.fields if item.name not in names), *new.fields))
