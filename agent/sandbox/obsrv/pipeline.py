"""What becomes of a record after the 200: the pipeline behind the entry topic, which tells the sender nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent.sandbox.obsrv.datasets import DAY, Dataset
from agent.sandbox.obsrv.schema import violation

MAX_EVENT = 1024 * 1024
BATCH_PERIOD = 7 * DAY  # the service's own; a dataset's dedup_period is not asked here

Reason = Literal[
    "",  # stored
    "duplicate batch",
    "EVENT_MISSING",
    "ERR_EXT_1003 event too large",
    "dataset not Live",
    "schema",
    "duplicate event",
    "ERR_ROUTER_1019 timestamp key",
]


Data = Mapping[str, Any] | list[Mapping[str, Any]]


def kafka_record(dataset: Dataset, msgid: str, data: Data, syncts: int) -> dict[str, Any]:
    """The one record that a request becomes in the entry topic."""
    source = {"connector": "api", "connectorInstance": "api"}
    meta = {"syncts": syncts, "flags": {}, "timespans": {}, "error": {}, "source": source}
    if not isinstance(data, list):
        return {"event": data, "obsrv_meta": meta, "dataset": dataset.id, "msgid": msgid}
    events, dedup = dataset.extraction_keys
    return {"obsrv_meta": meta, "dataset": dataset.id, "msgid": msgid, events: data, dedup: msgid}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one event: stored where `reason` is empty."""

    position: int
    event: Mapping[str, Any]
    reason: Reason
    detail: str = ""


class Pipeline:
    """Extraction, validation, deduplication and routing of what is in the topic."""

    def __init__(self) -> None:
        self._batches: dict[tuple[str, str], float] = {}
        self._events: dict[tuple[str, str], float] = {}

    def process(self, dataset: Dataset, msgid: str, data: Data) -> list[Fate]:
        """The fate of each event of one request."""
        if not isinstance(data, list):
            return [self._event(dataset, 0, data)]
        if not dataset.batches:
            return _all(data, "EVENT_MISSING")
        if dataset.drops_repeated_batches and self._repeated(self._batches, dataset.id, msgid, BATCH_PERIOD):
            return _all(data, "duplicate batch")
        return [self._event(dataset, i, event) for i, event in enumerate(data)]

    def _event(self, dataset: Dataset, position: int, event: Mapping[str, Any]) -> Fate:
        for reason, detail in self._obstacles(dataset, event):
            return Fate(position, event, reason, detail)
        return Fate(position, event, "")

    def _obstacles(self, dataset: Dataset, event: Mapping[str, Any]) -> Iterator[tuple[Reason, str]]:
        # In the pipeline's order; only what is met first counts.
        size = _size(event)
        if size > MAX_EVENT:
            yield "ERR_EXT_1003 event too large", f"{size} bytes"
        if dataset.status != "Live":
            yield "dataset not Live", dataset.status
        if dataset.strict is not None and (found := violation(dataset.data_schema, event, strict=dataset.strict)):
            yield "schema", found
        key = dataset.event_key
        value = _field(event, key) if key is not None else None  # an event without the field is not deduplicated
        if value is not None and self._repeated(self._events, dataset.id, json.dumps(value), dataset.dedup_period):
            yield "duplicate event", f"{key}={value}"
        if not _has_time(dataset, event):
            yield "ERR_ROUTER_1019 timestamp key", dataset.timestamp_key

    @staticmethod
    def _repeated(seen: dict[tuple[str, str], float], dataset: str, key: str, period: float) -> bool:
        now = time.monotonic()
        if now < seen.get((dataset, key), 0.0):
            return True
        seen[dataset, key] = now + period
        return False


def _all(events: list[Mapping[str, Any]], reason: Reason) -> list[Fate]:
    return [Fate(i, event, reason) for i, event in enumerate(events)]


def _size(event: Mapping[str, Any]) -> int:
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))


def _field(event: Mapping[str, Any], path: str) -> object:
    value: object = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _has_time(dataset: Dataset, event: Mapping[str, Any]) -> bool:
    key = dataset.timestamp_key
    if key == "obsrv_meta.syncts":  # stamped by the server
        return True
    value = _field(event, key)
    if isinstance(value, str):
        return True  # taken as it stands where the dataset has no time format
    # The pipeline tells seconds, ms, µs and ns apart by the number of digits and takes nothing else.
    return isinstance(value, int | float) and not isinstance(value, bool) and len(str(value)) in (10, 13, 16, 19)
