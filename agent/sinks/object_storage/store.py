"""
The bucket's client: signs each try by itself, knows the far clock, and reads the keys again when they are refused.

    try ─▸ 401, 403: was it our clock? sign by the far side's, try once more
              ─▸ have the key files changed? sign with the new pair, try once more
                    ─▸ what the answer means for the data
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.errors import Retryable
from agent.far_clock import FarClock
from agent.http import Answer, HttpOptions, open_client, quoted
from agent.ncloud.keys import Keys, Pair
from agent.sinks.object_storage import signing
from agent.sinks.object_storage.answers import meaning
from agent.sinks.object_storage.body import Stored

if TYPE_CHECKING:
    from agent.http.client import Client

REFUSED = (401, 403)


@asynccontextmanager
async def open_store(options: HttpOptions, keys: Keys, *, url: str, region: str, bucket: str) -> AsyncIterator[Store]:
    """A client of one bucket. Raises Retryable where botocore is missing."""
    try:
        await asyncio.to_thread(signing.load)
    except ImportError as error:
        raise Retryable(
            f"the package {error.name or signing.PACKAGE} is missing: {signing.INSTALL}", operator=True
        ) from error
    async with open_client(options) as client:
        yield Store(client, keys, url, region, bucket)


class Store:
    """One bucket. `open_store` makes it. Every method raises the DeliveryError that an answer, or none, comes to."""

    def __init__(self, client: Client, keys: Keys, url: str, region: str, bucket: str) -> None:
        self._client = client
        self._keys = keys
        self._url = url
        self._region = region
        self._bucket = bucket
        self._clock = FarClock("object_storage")

    async def put(self, stored: Stored, content: bytes, content_type: str) -> None:
        """
        Store an object; one with the same key is overwritten.

        A store says so with the object's ETag (Amazon S3 API reference, PutObject). Without one the answer is that of
        something else, such as a hotspot's login page, and the object is kept.
        """
        headers = {"Content-Type": content_type, "Content-MD5": stored.md5}
        answer = await self._ask("PUT", stored.key, content, headers, stored.sha256)
        if not answer.headers.get("etag"):
            said = quoted(answer.body)
            raise Retryable(
                f"answered {answer.status} without the ETag of a stored object: is `url` a store that speaks S3?",
                answer=said,
                status=answer.status,
                operator=True,
            )

    async def get(self, key: str) -> bytes:
        """An object's content, the first 64 KiB of it."""
        return (await self._ask("GET", key)).body

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._ask("DELETE", key)

    async def _ask(
        self,
        method: str,
        key: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        sha256: str = signing.NO_BODY,
    ) -> Answer:
        url = self._url + signing.path(self._bucket, key)

        async def attempt(pair: Pair) -> Answer:
            sent = signing.signed(
                method,
                url,
                headers or {},
                sha256=sha256,
                now=self._clock.now(),
                region=self._region,
                access_key=pair.access,
                secret_key=pair.secret,
            )
            return await self._client.request(method, url, body, sent, hide=(*pair, sent["Authorization"]))

        pair = await self._keys.read()
        answer = await attempt(pair)
        refused = answer.status in REFUSED
        if self._clock.learn(answer.date, url, refused=refused) and refused:
            answer = await attempt(pair)
        if answer.status in REFUSED and await self._keys.renewed(pair):
            answer = await attempt(await self._keys.read())
        if error := meaning(answer, region=self._region):
            raise error
        return answer
