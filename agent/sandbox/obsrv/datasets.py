"""What the far side knows of its datasets: the rows of its tables, in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Status = Literal["Draft", "ReadyToPublish", "Live", "Retired", "Archived"]
DAY = 86400
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
# What a dataset has that is created through the API without saying anything about batches.
CREATED = {
    "is_batch_event": True,
    "extraction_key": "events",
    "dedup_config": {"drop_duplicates": True, "dedup_key": "id", "dedup_period": 7 * DAY},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """
    One row. The configs have the shape and the keys they have there.

    The defaults are those of a dataset created by the API, but for the validation, which is off here: a Strict
    dataset with an empty schema would refuse every event.
    """

    id: str
    name: str = ""
    type: str = "event"
    status: Status = "Live"
    entry_topic: str = "local.ingest"
    api_version: str = "v2"
    alias: str | None = None
    datasources: tuple[str, ...] = ()  # further keys it is found by; `<id>_druid` and `<id>_events_druid` always are
    extraction_config: Mapping[str, Any] = field(default_factory=lambda: CREATED)
    dedup_config: Mapping[str, Any] = field(default_factory=dict)
    validation_config: Mapping[str, Any] = field(default_factory=lambda: {"validate": False})
    data_schema: Mapping[str, Any] = field(default_factory=dict)
    dataset_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """The entry topic; v1 rows have it elsewhere."""
        return self.entry_topic if self.api_version == "v2" else str(self.dataset_config.get("entry_topic", ""))

    @property
    def topic_is_valid(self) -> bool:
        return bool(_TOPIC.fullmatch(self.topic))

    @property
    def batches(self) -> bool:
        """Whether arrays are taken apart (an array is lost where not)."""
        return bool(self.extraction_config.get("is_batch_event"))

    @property
    def drops_repeated_batches(self) -> bool:
        return self.batches and bool(self.extraction_config.get("dedup_config", {}).get("drop_duplicates"))

    @property
    def extraction_keys(self) -> tuple[str, str]:
        """Under which keys the one Kafka record of a batch holds its events and its msgid."""
        dedup = self.extraction_config.get("dedup_config", {})
        return self.extraction_config.get("extraction_key") or "events", dedup.get("dedup_key") or "id"

    @property
    def event_key(self) -> str | None:
        """The field by which single events are deduplicated, if they are."""
        return self.dedup_config.get("dedup_key") if self.dedup_config.get("drop_duplicates") else None

    @property
    def dedup_period(self) -> float:
        return float(self.dedup_config.get("dedup_period", 7 * DAY))

    @property
    def strict(self) -> bool | None:
        """Strict or IgnoreNewFields; None where nothing is validated."""
        if not self.validation_config.get("validate", True):
            return None
        return bool(self.validation_config.get("mode", "Strict") == "Strict")

    @property
    def timestamp_key(self) -> str:
        keys = self.dataset_config.get("keys_config", {})
        return str(keys.get("timestamp_key") or "obsrv_meta.syncts")

    def row(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "dataset_id": self.id,
            "name": self.name or self.id,
            "type": self.type,
            "status": self.status,
            "entry_topic": self.entry_topic,
            "api_version": self.api_version,
            "alias": self.alias,
            "extraction_config": dict(self.extraction_config),
            "dedup_config": dict(self.dedup_config),
            "validation_config": dict(self.validation_config),
            "data_schema": dict(self.data_schema),
            "dataset_config": dict(self.dataset_config),
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Dataset:
        """From a row as the API shows it or takes it."""
        known = {key: value for key, value in row.items() if key in cls.__slots__ and key != "id" and value is not None}
        if "datasources" in known:
            known["datasources"] = tuple(known["datasources"])
        return cls(id=row["dataset_id"], **known)


class Catalogue:
    """The tables `datasets` and `datasets_draft`, and the look-up by id, alias or datasource."""

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.live: dict[str, Dataset] = {}
        self.drafts: dict[str, Dataset] = {}
        for dataset in datasets:
            self.put(dataset)

    def put(self, dataset: Dataset) -> None:
        """Write a row into the table its status belongs to."""
        draft = dataset.status in ("Draft", "ReadyToPublish")
        (self.drafts if draft else self.live)[dataset.id] = dataset

    def change(self, dataset_id: str, **changes: Any) -> None:
        """Alter a published dataset, as an operator would."""
        self.put(replace(self.live.pop(dataset_id), **changes))

    def find(self, key: str) -> Dataset | None:
        """By alias or datasource first, then by id."""
        return self.by_datasource(key) or self.live.get(key)

    def by_datasource(self, key: str) -> Dataset | None:
        """By alias or datasource alone: how queries look it up."""
        for dataset in self.live.values():
            names = (f"{dataset.id}_druid", f"{dataset.id}_events_druid", dataset.alias, *dataset.datasources)
            if key in names:
                return dataset
        return None
