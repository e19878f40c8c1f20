"""
From the records of a window to rows: by bucket of time and by dimensions, each metric rolled up.

Pure: the same records give the same rows in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agent.record import Run
from agent.sinks.cloud_insight.feeds import Feed, Measure, Table, feeds_of, parsed, value_at
from agent.sinks.cloud_insight.schema import TIMESTAMP, Schema, fits
from agent.sinks.cloud_insight.series import Series, Value, combined

# A tick that was sampled right before the full minute is stored right after it, and counts to the others of its window.
EDGE_MS = 5000

Values = dict[str, Any]
_Key = tuple[int, tuple[str, ...]]  # bucket, dimensions


@dataclass(slots=True)
class Left:
    """What did not become part of a row, by reason. Counts records, and of values those that found no room."""

    unused: Counter[str] = field(default_factory=Counter)  # by source
    lacking: Counter[str] = field(default_factory=Counter)  # by "schema: dimension"
    unfit: Counter[str] = field(default_factory=Counter)  # by "schema: metric"

    def __bool__(self) -> bool:
        return bool(self.unused or self.lacking or self.unfit)


class Rows:
    """The rows of one run, under construction."""

    def __init__(self, tables: Sequence[Table], run: Run, *, rollup_ms: int, timestamp: bool) -> None:
        self.left = Left()
        self._tables = tables
        self._rollup = rollup_ms
        self._timestamp = timestamp
        self._edge = min(EDGE_MS, rollup_ms // 4)
        self._from = self._until = 0  # the window
        if rollup_ms:
            self._from = run.oldest_ms // rollup_ms * rollup_ms
            self._until = run.newest_ms // rollup_ms * rollup_ms + rollup_ms
        self._picked = Counter[str]()  # by source: what a table that picks has left
        self._streams: dict[bytes, tuple[str, list[Feed], Counter[str]]] = {}  # and where what is unused counts
        # By table, then by key: for each metric, the series of each stream of records.
        self._rows: list[dict[_Key, list[dict[bytes, Series]]]] = [{} for _ in tables]
        for record in run.records():
            self._add(record)
        if not any(rows for table, rows in zip(tables, self._rows, strict=True) if table.picks):
            self.left.unused += self._picked  # it has found nothing at all, and that is news

    def of(self, place: int) -> Iterator[Values]:
        """The rows of one table, in the order in which the first record of each came in."""
        schema, measures = self._tables[place].schema, self._tables[place].measures
        for (_, dimensions), cells in self._rows[place].items():
            row: Values = dict(zip(schema.dimensions, dimensions, strict=True))
            newest = 0
            for measure, cell in zip(measures, cells, strict=True):
                if cell and (value := self._value(schema, measure, list(cell.values()))) is not None:
                    row[measure.name] = value.encode(errors="replace").decode() if isinstance(value, str) else value
                    newest = max(newest, *(series.until for series in cell.values()))
            if len(row) > len(dimensions):
                yield row | ({TIMESTAMP: newest} if self._timestamp else {})

    def _value(self, schema: Schema, measure: Measure, several: list[Series]) -> Value | None:
        try:
            return combined(several, measure)
        except (ValueError, OverflowError):
            self.left.unfit[f"{schema.label}: {measure.name}"] += 1
            return None

    def _add(self, record: bytes) -> None:
        start = record.index(b',"source":')
        end = record.index(b'},"fields":', start)
        middle = record[start:end]
        if middle not in self._streams:
            head = parsed(b"{" + middle[1:] + b"}}")
            source, tags = head["source"], head["tags"]
            picked = any(
                table.picks and fits(table.schema.select, table.schema.where, source, tags) for table in self._tables
            )
            unused = self._picked if picked else self.left.unused
            self._streams[middle] = source, feeds_of(self._tables, source, tags), unused
        source, feeds, unused = self._streams[middle]
        is_used = False
        if feeds:
            ts, fields = int(record[6:start]), parsed(record[end + 11 : -1])
            for feed in feeds:
                is_used |= self._take(feed, middle, ts, fields)
        if not is_used:
            unused[source] += 1

    def _take(self, feed: Feed, stream: bytes, ts: int, fields: Values) -> bool:
        """Give a record to a table. False: it has nothing for it."""
        found = [(each, value) for each in feed.wanted if (value := value_at(fields, each.path)) is not None]
        if not found:
            return False
        schema = self._tables[feed.table].schema
        dimensions, lacks = _dimensions(schema, feed, fields)
        if lacks:
            self.left.lacking[f"{schema.label}: {lacks}"] += 1
            return True
        rows = self._rows[feed.table]
        cells = rows.get(key := (self._bucket(ts), dimensions))
        if cells is None:
            cells = rows[key] = [{} for _ in self._tables[feed.table].measures]
        for wanted, value in found:
            cell = cells[wanted.place]
            series = cell.get(stream) or Series(wanted.origin)
            if series.add(ts, value):
                cell[stream] = series
            else:
                self.left.unfit[f"{schema.label}: {self._tables[feed.table].measures[wanted.place].name}"] += 1
        return True

    def _bucket(self, ts: int) -> int:
        if not self._rollup:
            return ts  # a row a tick
        if self._from - self._edge <= ts < self._from:
            return self._from
        if self._until <= ts < self._until + self._edge:
            return self._until - self._rollup
        return ts // self._rollup * self._rollup


def _dimensions(schema: Schema, feed: Feed, fields: Values) -> tuple[tuple[str, ...], str]:
    """Their values, and which of them is lacking."""
    if feed.lacks or not feed.paths:
        return cast("tuple[str, ...]", feed.dimensions), feed.lacks
    paths = iter(feed.paths)
    values = [_text(value_at(fields, next(paths))) if value is None else value for value in feed.dimensions]
    lacks = next((name for name, value in zip(schema.dimensions, values, strict=True) if not value), "")
    return tuple(values), lacks


def _text(value: object) -> str:
    """A field as a dimension: text, whole numbers and true or false are fit to name a thing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).encode(errors="replace").decode() if isinstance(value, str | int) else ""
