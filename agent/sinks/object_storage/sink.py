"""
Stores batches as objects: newline-delimited JSON, an object a batch, in NAVER Object Storage or what else speaks S3.

An object's name is its batch's id, and its folder depends on the batch alone: a resend after a lost answer
overwrites the object with itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from socket import gethostname
from typing import ClassVar
from urllib.parse import urlsplit

import orjson

from agent.http import HttpOptions, option_problems, url_problems
from agent.ncloud.keys import Keys
from agent.ports import Limits, Parcel, Send
from agent.record import Run, middle
from agent.schema import Duration, Secret, option
from agent.sinks.object_storage import layout, signing
from agent.sinks.object_storage.body import compressed, packed, unpacked
from agent.sinks.object_storage.regions import REGIONS
from agent.sinks.object_storage.store import Store, open_store
from agent.sinks.object_storage.verify import verified

# While a batch is formed its data stand in memory three times over.
MOST_RECORDS = 50_000
MOST_BYTES = 4 * 1024 * 1024
LINGER = 300.0
CONTENT_TYPE = "application/x-ndjson"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStorage(HttpOptions):
    """NAVER Object Storage, or any store that speaks S3: objects of newline-delimited JSON."""

    kind: ClassVar[str] = "object_storage"

    bucket: str = option("The bucket; it must exist.", example="telemetry")
    access_key: Secret = option("Access key of the account, or of a sub account.", example="ACCESS-KEY-ID")
    secret_key: Secret = option("Its secret key.", example="SECRET-KEY")
    prefix: str = option(
        "What stands before an object's name: time in strftime's way (%Y %m %d %H %M %j %G %V %u), of when the newest "
        "record was taken in; {host} or a tag {tags.NAME} of that record.",
        "telemetry/{host}/dt=%Y-%m-%d/hour=%H/",
    )
    tz: str = option("Time zone of the times in `prefix`.", "UTC")
    gzip: bool = option("Whether objects are compressed: NAME.ndjson.gz, else NAME.ndjson.", True)
    region: str = option(f"Region of the bucket ({', '.join(REGIONS)}, or that of another store).", "kr-standard")
    url: str | None = option(
        "Where the store is, without the bucket.",
        None,
        default_text="that of the region",
        example="https://kr.object.ncloudstorage.com",
    )
    timeout: Duration = option("Longest time for one request, from connecting to the end of the answer.", 60.0, low=1.0)

    @property
    def limits(self) -> Limits:
        """An object every five minutes, as a rule; one at a time, as two would only hold twice the memory."""
        return Limits(records=MOST_RECORDS, bytes=MOST_BYTES, in_flight=1, linger=LINGER)

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong with the options among each other."""
        problems = [*option_problems(self), *layout.problems(self.prefix, self.tz)]
        if not signing.is_installed():
            problems.append(
                ("type", f"needs the package {signing.PACKAGE}, which signs its requests: {signing.INSTALL}")
            )
        if not _BUCKET.fullmatch(self.bucket):
            problems.append(("bucket", "expected 3 to 63 lower-case letters, digits, - or ."))
        problems += [(name, "is empty") for name in ("access_key", "secret_key") if not getattr(self, name)]
        if not re.fullmatch(r"[A-Za-z0-9-]+", self.region):
            problems.append(("region", "expected a name such as kr-standard"))
        elif self.url is None and self.region not in REGIONS:
            problems.append(("region", f"is none of {', '.join(REGIONS)}: give `url`, too"))
        if self.url is not None:
            wrong = url_problems("url", self.url, self.secret_key, self)
            if not wrong and urlsplit(self.url).path.strip("/"):
                wrong = [("url", "expected the URL without a path: the bucket is added to it")]
            problems += wrong
        return problems

    def warnings(self) -> list[tuple[str, str]]:
        """What may be meant, but rarely is."""
        return list(layout.warnings(self.prefix))

    def encode(self, run: Run) -> bytes:
        """The records, a line each."""
        return b"\n".join([*run.records(), b""])

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        """The object, behind a line that says where it goes."""
        newest = data[data.rfind(b"\n", 0, -1) + 1 :]
        key = f"{layout.folder(self.prefix, self.tz, newest_ms, newest)}{batch}.ndjson{'.gz' if self.gzip else ''}"
        return packed(key, compressed(data) if self.gzip else [data])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Keep connections to the store, the keys, and what its clock shows."""
        async with self._store() as store:

            async def send(parcel: Parcel) -> None:
                stored, content = unpacked(parcel.body)
                await store.put(stored, content, CONTENT_TYPE)

            yield send

    async def verify(self, say: Callable[[str], None]) -> str:
        """Put a marked object, get it back, delete it (`verify-delivery`). Raises Unverified or a DeliveryError."""
        mark, now_ms = f"telemetry-agent-{token_hex(8)}", time.time_ns() // 1_000_000
        record = b'{"ts":%d%b%b}\n' % (
            now_ms,
            middle(f"verify.{mark}", {"host": gethostname()}),
            orjson.dumps({"verify": mark}),
        )
        async with self._store() as store:
            return await verified(store, self.pack(f"_{mark}", now_ms, record), CONTENT_TYPE, self.bucket, say)

    def _store(self) -> AbstractAsyncContextManager[Store]:
        keys = Keys(self.access_key, self.secret_key, of=self.kind, within=self.timeout)
        url = (self.url or REGIONS[self.region]).rstrip("/")
        return open_store(self, keys, url=url, region=self.region, bucket=self.bucket)
