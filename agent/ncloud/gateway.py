"""
The gateway's client: signs each try by itself, knows the far clock, and reads the keys again when they are refused.

    try ─▸ 401: was it our clock? sign with the far side's, try once more
              ─▸ 401, 403: have the key files changed? sign with the new pair, try once more
                    ─▸ what the answer means for the data
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.far_clock import FarClock
from agent.http import Answer, open_client
from agent.ncloud.answers import meaning, said
from agent.ncloud.keys import Keys, Pair
from agent.ncloud.options import GatewayOptions
from agent.ncloud.signature import signature
from agent.ncloud.zones import Zone

if TYPE_CHECKING:
    from agent.http.client import Client

SAME_MOMENT = 1000  # ms; a clock that was set back by more is followed
NO_RIGHT = "210"  # told only to whoever was recognised, so by a right clock


@asynccontextmanager
async def open_gateway(options: GatewayOptions, hosts: Mapping[Zone, str], *, name: str) -> AsyncIterator[Gateway]:
    """A client of the service with those hosts; `name` is what the log calls it."""
    keys = Keys(options.access_key, options.secret_key, of=name, within=options.timeout)
    async with open_client(options) as client:
        yield Gateway(client, options.base(hosts), keys, options.headers(), FarClock(name))


class Gateway:
    """Sends signed requests and gives answers. `open_gateway` makes it."""

    def __init__(self, client: Client, url: str, keys: Keys, headers: Mapping[str, str], clock: FarClock) -> None:
        self.clock = clock
        self._client = client
        self._url = url
        self._keys = keys
        self._headers = {"Accept": "application/json", **headers}
        self._signed_ms = 0

    async def call(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """
        Send a request and give the answer, whose status is a success.

        `target`: the path with its query, as it is to go over the wire. Raises the DeliveryError that any other
        answer, or none, comes to.
        """
        pair = await self._keys.read()
        answer = await self._try(method, target, body, pair)
        is_unknown = answer.status == 401 and said(answer.body).code != NO_RIGHT
        if self.clock.learn(answer.date, self._url, refused=is_unknown) and is_unknown:
            answer = await self._try(method, target, body, pair)
        if answer.status in (401, 403) and await self._keys.renewed(pair):
            answer = await self._try(method, target, body, await self._keys.read())
        error = meaning(answer.status, answer.body, retry_after=answer.retry_after, headers=answer.headers)
        if error is not None:
            raise error
        return answer

    async def _try(self, method: str, target: str, body: bytes | None, pair: Pair) -> Answer:
        timestamp = self._timestamp()
        signed = signature(method, target, timestamp, pair.access, pair.secret)
        headers = {
            **self._headers,
            "x-ncp-apigw-timestamp": str(timestamp),
            "x-ncp-iam-access-key": pair.access,
            "x-ncp-apigw-signature-v2": signed,
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._client.request(method, self._url + target, body, headers, hide=(*pair, signed))

    def _timestamp(self) -> int:
        """Now, as the far side has it; never the same twice, so that no request can pass for a copy of another."""
        now = self.clock.now_ms()
        if now <= self._signed_ms < now + SAME_MOMENT:
            now = self._signed_ms + 1
        self._signed_ms = now
        return now
