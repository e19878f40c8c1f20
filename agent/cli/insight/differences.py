"""What sets the fields of a schema apart from those that a sink's mapping needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.sinks.cloud_insight.fields import INTERVALS, Field

FIELD = "field"  # a whole field is there, or is not
AGGREGATIONS = "aggregations"
ID_DIMENSION = "id dimension"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that an update would change. `here`: as the mapping needs it; `there`: as the service has it."""

    change: Literal["added", "removed", "changed"]
    field: str
    what: str
    there: str
    here: str

    def __str__(self) -> str:
        if self.change == "added":
            return f"+ {self.field}: {self.here}"
        if self.change == "removed":
            return f"- {self.field}: {self.there}"
        return f"~ {self.field}: {self.what} {self.there} -> {self.here}"


def differences(there: Sequence[Mapping[str, Any]], here: Sequence[Field]) -> list[Difference]:
    """By field, those of the mapping first."""
    known = {str(row.get("name")): row for row in there}
    names = {field.name for field in here}
    found = []
    for field in here:
        if field.name in known:
            found += _changes(known[field.name], field)
        else:
            found.append(Difference("added", field.name, FIELD, "", words(field.row())))
    gone = [name for name in known if name not in names]
    return found + [Difference("removed", name, FIELD, words(known[name]), "") for name in gone]


def merged(there: Sequence[Mapping[str, Any]], here: Sequence[Field]) -> list[dict[str, Any]]:
    """
    The full list for an update.

    What only the service says of a field (a description, a unit) stays, and so does every function that a metric is
    kept by: a chart may show it.
    """
    known = {str(row.get("name")): row for row in there}
    return [_merged(known.get(field.name, {}), field) for field in here]


def misfits(found: Sequence[Difference]) -> list[Difference]:
    """Those that cost values: fields that are missing, of another kind or type; an id dimension that no row has."""
    return [
        each
        for each in found
        if each.what != AGGREGATIONS and (each.change != "removed" or each.there.startswith(ID_DIMENSION))
    ]


def words(row: Mapping[str, Any]) -> str:
    """A field in words: metric FLOAT (AVG, MAX, MIN)."""
    functions = _functions(row)
    return f"{kind(row)} {row.get('dataType')}{f' ({functions})' if kind(row) == 'metric' and functions else ''}"


def kind(row: Mapping[str, Any]) -> str:
    """What a field is."""
    if row.get("idDimension"):
        return ID_DIMENSION
    return "dimension" if row.get("dimension") else "metric"


def _merged(there: Mapping[str, Any], here: Field) -> dict[str, Any]:
    kept = {name: there[name] for name in ("counter", "unit") if there.get(name) is not None}
    row = {**here.row(), **kept, "desc": here.desc or str(there.get("desc") or "")}
    if here.aggregations and there:
        row[AGGREGATIONS] = _all_functions(there, here)
        if not row[AGGREGATIONS]:
            del row[AGGREGATIONS]
    return row


def _all_functions(there: Mapping[str, Any], here: Field) -> dict[str, list[str]]:
    """Those there and those needed. Without a word on them a metric has every one at every interval ("FieldDto")."""
    given = _aggregations(there)
    return {
        interval: list(dict.fromkeys([*given.get(interval, ()), *here.aggregations]))
        for interval in (dict.fromkeys([*given, *INTERVALS]) if given else ())
    }


def _changes(there: Mapping[str, Any], here: Field) -> list[Difference]:
    wanted = here.row()
    pairs = [("kind", kind(there), kind(wanted)), ("dataType", str(there.get("dataType")), here.data_type)]
    if here.aggregations and kind(there) == "metric":
        pairs.append((AGGREGATIONS, _functions(there), _functions({AGGREGATIONS: _all_functions(there, here)})))
    return [Difference("changed", here.name, what, old, new) for what, old, new in pairs if old != new]


def _aggregations(row: Mapping[str, Any]) -> dict[str, list[str]]:
    given = row.get(AGGREGATIONS)
    return {str(name): list(each or ()) for name, each in given.items()} if isinstance(given, Mapping) else {}


def _functions(row: Mapping[str, Any]) -> str:
    """By which functions a metric is kept; by interval, where that makes a difference."""
    given = _aggregations(row)
    every = [", ".join(given.get(interval, ())) for interval in INTERVALS]
    if len(set(every)) == 1:
        return every[0]
    return "; ".join(f"{interval} {names}" for interval, names in zip(INTERVALS, every, strict=True) if names)
