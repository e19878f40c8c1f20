"""
Sends batches to Obsrv: `POST /v2/data/in/<dataset>`, one request a batch, its id as `params.msgid`.

Obsrv drops a batch whose msgid it has seen within seven days, so a resend after a lost answer costs
nothing, provided that it is the same data. That holds for arrays alone; where a request carries a single
event, an id within the event has to do the same.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from agent.errors import AuthExpired, BadPayload, Retryable, TooLarge, Unfit
from agent.http import Answer, Credential, HttpOptions, open_client, option_problems, url_problems
from agent.ports import Limits, Parcel, Send
from agent.record import Run, batch_id, record_id
from agent.schema import Duration, Secret, option
from agent.sinks.obsrv.answers import unanswered, verdict
from agent.sinks.obsrv.integers import exact_integers
from agent.sinks.obsrv.shapes import (
    Flat,
    Key,
    TimeFormat,
    cut,
    fields_of,
    host_of,
    key_of,
    time_as,
    time_of,
    with_missing,
)
from agent.sinks.obsrv.verify import found, marked_run

if TYPE_CHECKING:
    from agent.http.client import Client

_compressor: Callable[..., Any]

try:
    from isal import isal_zlib

    _compressor = isal_zlib.compressobj  # a fifteenth of zlib's cost, the same size
except ImportError:  # no wheel for this platform
    _compressor = zlib.compressobj

GZIP = 16 + zlib.MAX_WBITS  # a gzip header with neither name nor time, so that the bytes repeat
KEEPALIVE = 4.0  # Obsrv closes idle connections after 5 s
# Stock Kafka takes 1,048,588 bytes a message, and one request becomes one message.
MAX_BODY = 1_000_000
MAX_DATA = MAX_BODY - 512  # the envelope

_Keys = tuple[Key | None, Key | None, Key | None]  # for id, time and host


@dataclass(frozen=True, slots=True, kw_only=True)
class Obsrv(HttpOptions):
    """Obsrv's data-in API."""

    kind: ClassVar[str] = "obsrv"

    url: str = option("Where Obsrv is, without the path of the API.", example="https://obsrv.example.org")
    dataset: str = option("Id of the dataset, as it is there.", example="fleet-telemetry")
    token: Secret | None = option(
        "JWT with a role that may ingest.", None, default_text="none is sent", example="credential:obsrv"
    )
    query_token: Secret | None = option(
        "JWT that may query, for verify-delivery and the commands of `obsrv`.",
        None,
        default_text="token",
        example="credential:obsrv-query",
    )
    shape: Literal["record", "payload", "flat"] = option(
        "What an event is: the `record` as it is; its `payload` (the fields) alone; or all of it `flat` in one object, "
        "where the record's time and source come first, then tags, then fields, and a name that is taken gets "
        "`tags_` or `fields_` in front.",
        "record",
    )
    form: Literal["array", "single"] = option(
        "What a request carries: an `array` of events, or a `single` one, for datasets without is_batch_event.", "array"
    )
    id_key: str | None = option(
        "Key that gets the record's id, unless the payload has that key. Let the dataset drop duplicates by it.",
        None,
        default_text="none",
        example="id",
    )
    time_key: str | None = option(
        "Key that gets the record's time, unless the payload has that key; in `flat` it takes the place of `ts`.",
        None,
        default_text="none",
        example="ets",
    )
    time_format: TimeFormat = option("How time_key writes it: milliseconds or seconds since 1970, or as text.", "ms")
    host_key: str | None = option(
        "Key that gets the tag `host`, unless the payload has that key; in `flat` it takes the place of `host`.",
        None,
        default_text="none",
        example="hostname",
    )
    separator: str = option("What joins the names of nested fields in `flat`.", "_")
    gzip: bool = option("Whether requests are compressed.", True)
    # With its Kafka frozen Obsrv answers after 63 s. A quicker retry would race its own pending write.
    timeout: Duration = option("Longest time for one request, from connecting to the end of the answer.", 75.0, low=1.0)

    @property
    def limits(self) -> Limits:
        """Four requests at a time: Obsrv waits for PostgreSQL and Kafka in each."""
        return Limits(records=500 if self.form == "array" else 1, bytes=512 * 1024, in_flight=4)

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the options among each other."""
        problems = [*option_problems(self), *url_problems("url", self.url, self.token, self)]
        if "/v2/data" in self.url:
            problems.append(("url", "expected the URL without the path of the API, which is added to it"))
        if self.dataset.strip() in ("", ".", ".."):
            problems.append(("dataset", "expected the id of a dataset"))
        if self.form == "single" and not self.id_key:
            problems.append(("id_key", 'required with form = "single": only arrays are deduplicated without it'))
        taken: set[str] = {"record": {"ts", "source", "tags", "fields"}, "flat": {"source"}, "payload": set()}[
            self.shape
        ]
        if self.shape == "flat" and not self.time_key:
            taken.add("ts")
        for name in ("time_key", "id_key", "host_key"):
            key = getattr(self, name)
            if key is None:
                continue
            if key in taken or not key:
                problems.append((name, f'"{key}" is the name of something else' if key else "expected a name"))
            taken.add(key)
        return problems

    @property
    def _has_keys(self) -> bool:
        return bool(self.id_key or self.time_key or self.host_key)

    def encode(self, run: Run) -> bytes:
        """The events joined by commas. Raises Unfit; TooLarge where they do not fit into one request."""
        if self.form == "single" and run.count > 1:
            raise TooLarge("a request carries a single event")
        if self.shape == "record" and not self._has_keys:
            data = exact_integers(run.body)
            events = None
        else:
            events = self._events(run)
            data = exact_integers(b",".join(events))
        if len(data) > MAX_DATA:
            events = run.records() if events is None else events
            sizes = [len(exact_integers(event)) for event in events]
            reasons = {i: f"{size} bytes; Obsrv takes 1 MB" for i, size in enumerate(sizes) if size > MAX_DATA}
            if reasons:
                raise Unfit(reasons)
            raise TooLarge(f"{len(data)} bytes in one request")
        return data

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        """The request's body. The envelope's time is the newest record's, so that a resend is the same to the byte."""
        before = b'{"id":"api.data.in","ver":"v2","ts":"%d","params":{"msgid":"%b"},"data":' % (
            newest_ms,
            batch.encode(),
        )
        after = b"}"
        if self.form == "array":
            before, after = before + b"[", b"]}"
        if not self.gzip:
            return before + data + after
        # Piece by piece: to put them together first costs more than to compress them.
        packer = _compressor(1, zlib.DEFLATED, GZIP)
        return b"".join((packer.compress(before), packer.compress(data), packer.compress(after), packer.flush()))

    async def verify(self, say: Callable[[str], None]) -> str:
        """Send one marked event and ask for it (`verify-delivery`). Raises Unverified or a DeliveryError."""
        mark, now_ms = f"telemetry-agent-{token_hex(8)}", time.time_ns() // 1_000_000
        run = marked_run(mark, now_ms)
        data = self.encode(run)
        column, value = ("verify", mark) if self.shape == "payload" else ("source", f"verify.{mark}")
        if self.id_key:
            column, value = self.id_key, record_id(run.segment_id, run.first)
        name = batch_id(run.segment_id, run.first, 1, zlib.crc32(data))
        async with self.open() as send:
            await send(Parcel(name, self.pack(name, now_ms, data), 1))
        say(f"Obsrv took an event with {column} = {value}")
        token = await Credential(self.query_token or self.token, "token", of=self.kind, within=self.timeout).read()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with open_client(self, keepalive=KEEPALIVE) as client:

            async def ask(datasource: str, body: bytes) -> Answer:
                url = f"{self.url.rstrip('/')}/v2/data/query/{quote(datasource, safe='')}"
                return await client.post(url, body, headers, hide=[token])

            return await found(self.dataset.strip(), column, value, ask, say)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Keep connections to Obsrv, and the token."""
        target = f"{self.url.rstrip('/')}/v2/data/in/{quote(self.dataset.strip(), safe='')}"
        headers = {"Content-Type": "application/json"} | ({"Content-Encoding": "gzip"} if self.gzip else {})
        async with open_client(self, keepalive=KEEPALIVE) as client:
            token = Credential(self.token, "token", of=self.kind, within=self.timeout)

            async def send(parcel: Parcel) -> None:
                shown = await token.read()
                try:
                    await self._post(client, target, parcel.body, headers, shown)
                except AuthExpired:
                    if not await token.renewed(shown):
                        raise
                    await self._post(client, target, parcel.body, headers, await token.read())

            yield send

    async def _post(self, client: Client, target: str, body: bytes, headers: dict[str, str], token: str) -> None:
        try:
            bearer = {"Authorization": f"Bearer {token}"} if token else {}
            answer = await client.post(target, body, headers | bearer, hide=[token])
        except Retryable as failure:
            raise unanswered(failure, token) from failure
        if refused := verdict(answer.status, answer.body, answer.retry_after):
            raise refused

    def _events(self, run: Run) -> list[bytes]:
        """Each record in the sink's shape. Raises Unfit."""
        if self.shape == "payload" and not self._has_keys:
            return [fields_of(record) for record in run.records()]
        make = self._flat if self.shape == "flat" else self._with_keys
        keys = (key_of(self.id_key), key_of(self.time_key), key_of(self.host_key))
        events: list[bytes] = []
        reasons: dict[int, str] = {}
        for position, record in enumerate(run.records()):
            try:
                events.append(make(record, b'"%b"' % record_id(run.segment_id, run.first + position).encode(), keys))
            except BadPayload as error:
                reasons[position] = str(error)
        if reasons:
            raise Unfit(reasons)
        return events

    def _with_keys(self, record: bytes, name: bytes, keys: _Keys) -> bytes:
        for_id, for_time, for_host = keys
        additions = []
        if for_id:
            additions.append((for_id, name))
        if for_time:
            additions.append((for_time, time_as(time_of(record), self.time_format)))
        if for_host and (host := host_of(record)):
            additions.append((for_host, host))
        return with_missing(record if self.shape == "record" else fields_of(record), additions)

    def _flat(self, record: bytes, name: bytes, keys: _Keys) -> bytes:
        parts = cut(record)
        flat = Flat(self.separator, MAX_DATA)
        flat.add(self.time_key or "ts", time_as(parts.ts, self.time_format), part="")
        flat.add("source", parts.source, part="")
        flat.add_all(parts.tags, part="tags", rename={"host": self.host_key} if self.host_key else {})
        flat.add_all(parts.fields, part="fields", rename={})
        if self.id_key:
            flat.add_missing(self.id_key, name)
        return flat.render()
