"""A schema's fields as CreateCustomSchema takes them ("FieldDto"): what a far side has to know before it takes rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from agent.sinks.cloud_insight.feeds import Measure, Table
from agent.sinks.cloud_insight.schema import DataType

INTERVALS = ("Min1", "Min5", "Min30", "Hour2", "Day1")


class Field(NamedTuple):
    """One metric or dimension; a metric with the functions it is to be aggregated by at every interval."""

    name: str
    data_type: DataType
    dimension: bool = False
    id_dimension: bool = False
    aggregations: tuple[str, ...] = ()
    desc: str = ""

    def row(self) -> dict[str, Any]:
        """The FieldDto. It is `idDimension` in JSON, whatever the class text says."""
        said: dict[str, Any] = {
            "name": self.name,
            "dataType": self.data_type,
            "metric": not self.dimension,
            "dimension": self.dimension,
            "idDimension": self.id_dimension,
            "counter": False,
            "desc": self.desc,
        }
        if self.aggregations:
            said["aggregations"] = {interval: list(self.aggregations) for interval in INTERVALS}
        return said


def fields_of(table: Table) -> Sequence[Field]:
    """The fields that a schema needs for the rows of this table. A metric without a type counts as a FLOAT."""
    schema = table.schema
    dimensions = [
        Field(name, "STRING", dimension=True, id_dimension=name == schema.identity) for name in schema.dimensions
    ]
    return [*dimensions, *(_metric(measure) for measure in table.measures)]


def _metric(measure: Measure) -> Field:
    kind = measure.type or "FLOAT"
    is_sum = any(origin.rollup == "sum" for origin in measure.origins)
    functions = ("AVG", "MAX", "MIN", "SUM") if is_sum else ("AVG", "MAX", "MIN")
    return Field(measure.name, kind, aggregations=() if kind == "STRING" else functions, desc=measure.desc)
