"""What is said of records and rows that do not arrive, though nothing failed: when it begins, and once an hour."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import structlog

from agent.errors import DeliveryError
from agent.units import format_duration

log = structlog.get_logger()

REMIND = 3600.0
MAX_NAMES = 100  # of sources and metrics, in memory and so in a line

_WORDS = {
    "unused": "records feed no schema",
    "lacking": "records lack a dimension, and are in no row",
    "unfit": "values that a metric cannot hold are left out",
}


class Notes:
    """Counts, and says so in the log. `labels`: what messages call the schema of a cw_key."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._counts: dict[str, Counter[str]] = {kind: Counter() for kind in _WORDS}
        self._said: dict[str, float] = {}
        self._refused: dict[str, int] = {}  # cw_key -> rows dropped since it was last accepted
        self._waiting: dict[str, float] = {}  # cw_key -> since when its rows wait, though others are taken
        self._too_large: Counter[str] = Counter()  # schema -> rows

    def left(self, left: Mapping[str, Mapping[str, int]], *, no_rows: bool) -> None:
        """What a delivered batch held and did not send; `no_rows`: it sent nothing."""
        if no_rows and left.get("unused") and self._is_time("no rows"):
            log.warning("no record feeds a schema, and nothing is sent", far_side="cloud_insight", **left)
            self._said["no rows"] = time.monotonic()
        for kind, counts in left.items():
            known = self._counts[kind]
            fresh = [name for name in counts if name not in known and len(known) < MAX_NAMES]
            known.update({name: count for name, count in counts.items() if name in known or name in fresh})
            if counts and (fresh or self._is_time(kind)):
                say = log.info if kind == "unused" else log.warning
                say(_WORDS[kind], far_side="cloud_insight", so_far=dict(known))
                self._said[kind] = time.monotonic()

    def too_large(self, schema: str, why: DeliveryError) -> None:
        """A row is too large by itself, though the gateway takes others."""
        self._too_large[schema] += 1
        if self._is_time(f"{schema}: too large"):
            log.error("rows too large, and left out", schema=schema, rows=self._too_large[schema], reason=why.reason)
            self._said[f"{schema}: too large"] = time.monotonic()

    def dropped(self, cw_key: str, rows: int, why: DeliveryError) -> None:
        """Rows were refused, and the operator wants such rows to be left out."""
        before = self._refused.get(cw_key)
        self._refused[cw_key] = (before or 0) + rows
        if before is None or self._is_time(cw_key):
            schema = self._labels[cw_key]
            log.error("rows refused, and dropped", schema=schema, rows=self._refused[cw_key], reason=why.reason)
            self._said[cw_key] = time.monotonic()

    def waits(self, cw_key: str, rows: int, why: DeliveryError) -> None:
        """Rows were refused and wait, while those of other schemas are taken."""
        fresh = cw_key not in self._waiting
        self._waiting.setdefault(cw_key, time.monotonic())
        if fresh or self._is_time(cw_key):
            log.error(
                "schema refused, its rows wait",
                schema=self._labels[cw_key],
                cw_key=cw_key,
                rows=rows,
                reason=why.reason,
                look_at="whether the service has a schema of this cw_key, with these dimensions and metrics as fields",
            )
            self._said[cw_key] = time.monotonic()

    def accepted(self, cw_key: str) -> None:
        """Rows of that schema were taken, and none refused."""
        schema = self._labels[cw_key]
        if (since := self._waiting.pop(cw_key, None)) is not None:
            log.info("schema taken again", schema=schema, waited=format_duration(round(time.monotonic() - since)))
        if (dropped := self._refused.pop(cw_key, None)) is not None:
            log.info("rows accepted again", schema=schema, dropped=dropped)

    def _is_time(self, what: str) -> bool:
        return time.monotonic() - self._said.get(what, -REMIND) >= REMIND
