"""
What a sink will send, and the dataset that fits it.

Nothing is worked out twice: samples of the records to come go through the sink's own `encode`, and what comes out
is looked at. So names that join, collide or get added are those of the events themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from agent.record import Run, middle
from agent.sinks.obsrv.datasets import envelope
from agent.sinks.obsrv.sink import Obsrv

ARRIVAL = "obsrv_meta.syncts"  # the time that Obsrv stamps; a dataset's timestamp key unless it names another
NOW_MS = 1_700_000_000_000
Schema = dict[str, Any]


class Sample(NamedTuple):
    """A record as it may come."""

    source: str
    tags: Mapping[str, str]
    fields: Mapping[str, Any]
    is_whole: bool = True  # False: it has more fields, which nobody knows beforehand


class Event(NamedTuple):
    """What a sample becomes."""

    source: str
    value: Mapping[str, Any]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """What a sink will send to its dataset."""

    dataset: str
    is_array: bool
    id_key: str | None
    time_key: str  # where an event's time stands; ARRIVAL where it carries none
    events: tuple[Event, ...]
    schema: Schema  # that all of those events meet
    fields_at: str  # what stands in front of the name of a field that nobody knows beforehand

    @property
    def unlisted(self) -> list[str]:
        """Sources with fields that nobody knows beforehand."""
        return list(dict.fromkeys(event.source for event in self.events if not event.is_whole))

    def create(self) -> dict[str, object]:
        """The body of a request that creates a dataset for it (wire facts: Obsrv, datasets and reading back, 1)."""
        dedup = {"drop_duplicates": True, "dedup_key": self.id_key} if self.id_key else {"drop_duplicates": False}
        request = {
            "dataset_id": self.dataset,
            "name": self.dataset,
            "type": "event",
            "extraction_config": {
                "is_batch_event": self.is_array,
                "extraction_key": "events",
                # Where the msgid stands in a batch's record: a batch that is sent again is dropped by it.
                "dedup_config": {"drop_duplicates": True, "dedup_key": "id"},
            },
            "dedup_config": dedup,
            "validation_config": {"validate": True, "mode": "IgnoreNewFields"},
            "data_schema": self.schema,
            "dataset_config": {
                "indexing_config": {"olap_store_enabled": True, "lakehouse_enabled": False, "cache_enabled": False},
                "keys_config": {"timestamp_key": self.time_key},
            },
        }
        return envelope("api.datasets.create", request=request)


def expected(sink: Obsrv, samples: Sequence[Sample]) -> Expected:
    """What a sink will send of records such as these."""
    has_time = sink.time_key is not None or sink.shape != "payload"
    events = tuple(Event(each.source, _event(sink, each), each.is_whole) for each in samples)
    return Expected(
        dataset=sink.dataset.strip(),
        is_array=sink.form == "array",
        id_key=sink.id_key,
        time_key=(sink.time_key or "ts") if has_time else ARRIVAL,
        events=events,
        schema=schema_of(event.value for event in events),
        fields_at="fields." if sink.shape == "record" else "",
    )


def _event(sink: Obsrv, sample: Sample) -> Mapping[str, Any]:
    record = b'{"ts":%d%b%b}' % (NOW_MS, middle(sample.source, sample.tags), orjson.dumps(sample.fields))
    event: dict[str, Any] = orjson.loads(sink.encode(Run(1, 0, record, array("I", [len(record)]), NOW_MS, NOW_MS)))
    return event


def schema_of(events: Iterable[Mapping[str, Any]]) -> Schema:
    """A JSON schema that all of these meet. A field with values of several kinds is left out, so that all may pass."""
    properties: dict[str, Schema | None] = {}
    for event in events:
        for name, value in event.items():
            found = _schema_of(value)
            properties[name] = _both(properties[name], found) if name in properties else found
    known = {name: each for name, each in properties.items() if each is not None}
    return {"type": "object", "additionalProperties": True, "properties": known}


def _schema_of(value: object) -> Schema | None:
    match value:
        case dict():
            return schema_of([value])
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
    return None


def _both(one: Schema | None, other: Schema | None) -> Schema | None:
    if one is None or other is None:
        return None
    kinds = {one["type"], other["type"]}
    if kinds == {"integer", "number"}:
        return {"type": "number"}
    if len(kinds) > 1:
        return None
    if "properties" not in one:
        return one
    properties: dict[str, Schema] = dict(one["properties"])
    for name, each in other["properties"].items():
        joined = _both(properties[name], each) if name in properties else each
        if joined is None:
            del properties[name]
        else:
            properties[name] = joined
    return {**one, "properties": properties}
