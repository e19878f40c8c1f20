"""Sends rows to NAVER Cloud Insight (SendData, `POST /cw_collector/real/data`): one batch is one minute's records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from agent.ncloud import CLOUD_INSIGHT, GatewayOptions, gateway_problems, open_gateway
from agent.ports import Collector, Limits, Send
from agent.record import Run
from agent.schema import Duration, Size, option
from agent.sinks.cloud_insight import preset as presets
from agent.sinks.cloud_insight.feeds import Table, table_of
from agent.sinks.cloud_insight.keys import file_problems, file_warnings, key_problems, named
from agent.sinks.cloud_insight.outlook import outlook
from agent.sinks.cloud_insight.requests import data, lines
from agent.sinks.cloud_insight.rows import Rows
from agent.sinks.cloud_insight.schema import TIMESTAMP, Metric, Schema
from agent.sinks.cloud_insight.sending import OnRefused, Sending
from agent.sinks.cloud_insight.verify import verified

# A minute's records are held in memory, to be rolled up: 5 KiB where each has dimensions of its own, so at most
# 100 MiB of the 256 that the unit allows. What is more than this makes a second batch.
MOST_RECORDS = 20_000
MOST_BYTES = 8 * 1024 * 1024
# The service has no time of its own for a row but its arrival: what is older would be drawn in the wrong place.
MAX_AGE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudInsight(GatewayOptions):
    """NAVER Cloud Insight: rows of custom schemas, by SendData."""

    kind: ClassVar[str] = "cloud_insight"

    preset: Literal["host"] | None = option(
        "A schema that the agent knows: `host` makes a row a minute about the machine out of the host collector's "
        "records, for the schema of cw_key.",
        None,
        default_text="none",
        example="host",
        in_example=True,
    )
    cw_key: str | int | None = option(
        "Key of the preset's schema, in quotes.",
        None,
        default_text="none",
        example="460438474722512896",
        in_example=True,
        words="a string",
    )
    cw_key_file: Path | None = option(
        "File with the key of the preset's schema, in place of cw_key: `telemetry-agent cloud-insight schema create` "
        "writes it. Until it is there, rows wait.",
        None,
        default_text="none",
        example="/etc/telemetry-agent/host.cw_key",
    )
    schema_name: str | None = option(
        "Product name of the preset's schema, for `telemetry-agent cloud-insight schema`, which makes it.",
        None,
        default_text=f"{presets.PRODUCT} there",
        example=presets.PRODUCT,
    )
    rollup: Duration = option(
        "So much time becomes one row for each value of the dimensions, on the full minute; 0s: a row a tick. The "
        "service aggregates by the minute.",
        60.0,
        high=3600.0,
    )
    max_rows: int = option("Most rows in a request.", 100, low=1, high=10_000)
    max_bytes: Size = option("Most bytes of a request.", 256 * 1024, low=1024)
    timestamp: bool = option(
        "Whether rows carry the time of their newest record as `timestamp` (ms). The service is not documented to "
        "look at it: it goes by arrival.",
        False,
    )
    on_refused: OnRefused = option(
        "What a schema's refused rows come to (a wrong key, say): `retry` keeps the whole batch, so that soon the "
        "other schemas wait, too; `drop` leaves those rows out, says so in the log, and counts the batch as delivered.",
        "retry",
    )
    schema: tuple[Schema, ...] = option("The custom schemas that get rows, one table each.", ())

    @property
    def limits(self) -> Limits:
        """A batch is a window of records: one minute becomes one row, not several."""
        return Limits(
            records=MOST_RECORDS,
            bytes=MOST_BYTES,
            in_flight=1,
            window=self.rollup,
            max_age=max(MAX_AGE, 5 * self.rollup),
        )

    @property
    def selects(self) -> tuple[str, ...]:
        """What any of the schemas is fed by: the others need not be read."""
        globs = dict.fromkeys(glob for table in self.tables for glob in table.schema.select)
        return ("*",) if "*" in globs or not globs else tuple(globs)

    @property
    def tables(self) -> Sequence[Table]:
        """The schemas with their metrics, the preset's first."""
        own = [table_of(schema) for schema in self.schema]
        if self.preset is None:
            return own
        return [presets.host(named(self.cw_key, self.cw_key_file), self.schema_name or ""), *own]

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the options among each other."""
        problems = [*gateway_problems(self, CLOUD_INSIGHT), *key_problems("cw_key", self.cw_key)]
        if self.preset is None and not self.schema:
            example = 'preset = "host" with its cw_key, or a table [[sinks.NAME.schema]]'
            problems.append(("schema", f"nothing would be sent: expected {example}"))
        problems += file_problems(self.cw_key, self.cw_key_file)
        if self.preset is not None and self.cw_key is None and self.cw_key_file is None:
            text = "required with preset, or cw_key_file: the key of the schema that gets its rows"
            problems.append(("cw_key", text))
        for name in ("cw_key", "cw_key_file", "schema_name"):
            if self.preset is None and getattr(self, name) is not None:
                problems.append((name, 'has no effect without preset = "host": a [[schema]] has its own'))
        if self.preset is not None and not self.rollup:
            problems.append(("rollup", "the preset needs one: its counters become rates between the ticks of a minute"))
        key = named(self.cw_key, self.cw_key_file)
        owners = {key: "the preset's"} if self.preset is not None and key else {}
        for n, schema in enumerate(self.schema):
            problems += self._odd(n, schema)
            owner = owners.setdefault(schema.key, f"that of schema[{n}]") if schema.key else ""
            if owner not in ("", f"that of schema[{n}]"):
                text = f"is {owner} already: each schema has a key of its own, and its rows one table"
                problems.append((f"schema.{n}.cw_key{'_file' if schema.cw_key_file else ''}", text))
        return problems

    def _odd(self, n: int, schema: Schema) -> list[tuple[str, str]]:
        """What a schema cannot have under the sink's other options."""
        found = []
        for name, metric in schema.metrics.items():
            if isinstance(metric, Metric) and metric.rollup == "rate" and not self.rollup:
                found.append(
                    (f"schema.{n}.metrics.{name}.rollup", "a rate is of several ticks: it needs the sink's rollup")
                )
        if self.timestamp and TIMESTAMP in {*schema.dimensions, *schema.metrics}:
            found.append(("timestamp", f"{schema.label} has a field of that name already"))
        return found

    def warnings(self) -> list[tuple[str, str]]:
        """What may be meant, but rarely is."""
        doubts = file_warnings(self.cw_key_file)
        if 0 < self.rollup < 60:
            text = "the service aggregates by the minute: more rows cost requests, and show nothing more"
            doubts.append(("rollup", text))
        return doubts

    def collector_warnings(self, collectors: Mapping[str, tuple[str, Collector]]) -> list[tuple[str, str]]:
        """What the preset will not find in what these collectors give."""
        return [] if self.preset is None else [("preset", text) for text in presets.doubts(collectors, self.rollup)]

    def encode(self, run: Run) -> bytes:
        """The bodies of the requests for these records, a line each."""
        tables = self.tables
        rows = Rows(tables, run, rollup_ms=round(self.rollup * 1000), timestamp=self.timestamp)
        requests = [
            line
            for place, table in enumerate(tables)
            for line in lines(table.schema.key, rows.of(place), max_rows=self.max_rows, max_bytes=self.max_bytes)
        ]
        return data(requests, rows.left)

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        """The same: what is sent of it, and in which pieces, shows on the way."""
        return data

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Keep a connection to the gateway, the keys, and what was taken of batches under way."""
        labels = {table.schema.key: table.schema.label for table in self.tables}
        async with open_gateway(self, CLOUD_INSIGHT, name=self.kind) as gateway:
            yield Sending(gateway, labels, on_refused=self.on_refused).send

    def outlook(self, tags: Mapping[str, str]) -> Sequence[str]:
        """What it will cost at the far side (`check`)."""
        return list(outlook(self.tables, tags, rollup=self.rollup, max_rows=self.max_rows))

    async def verify(self, say: Callable[[str], None]) -> str:
        """Send one marked row of the first schema and read it back (`verify-delivery`)."""
        async with open_gateway(self, CLOUD_INSIGHT, name=self.kind) as gateway:
            return await verified(gateway, self.tables[0], say)
