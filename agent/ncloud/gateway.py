"""
The gateway's client: signs each try by itself, knows the far clock, and reads the keys again when they are refused.

    try ─▸ 401: was it our clock? sign with the far side's, try once more
              ─▸ 401, 403: have the key files changed? sign with the new pair, try once more
                    ─▸ what the answer means for the data
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from agent.far_clock import FarClock
from agent.http import MAX_ANSWER, Answer, open_client
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


class Call(NamedTuple):
    """What is asked, the same at every try."""

    method: str
    target: str
    body: bytes | None
    accept: str
    most: int


class Gateway:
    """Sends signed requests and gives answers. `open_gateway` makes it."""

    def __init__(self, client: Client, url: str, keys: Keys, headers: Mapping[str, str], clock: FarClock) -> None:
        self.clock = clock
        self._client = client
        self._url = url
        self._keys = keys
        self._headers = headers
        self._signed_ms = 0

    async def call(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        *,
        accept: str = "application/json",
        most: int = MAX_ANSWER,
    ) -> Answer:
        """
        Send a request and give the answer, whose status is a success.

        `target`: the path with its query, as it is to go over the wire. `most`: bytes of the answer that are read.
        Raises the DeliveryError that any other answer, or none, comes to.
        """
        call = Call(method, target, body, accept, most)
        pair = await self._keys.read()
        answer = await self._try(call, pair)
        is_unknown = answer.status == 401 and said(answer.body).code != NO_RIGHT
        if self.clock.learn(answer.date, self._url, refused=is_unknown) and is_unknown:
            answer = await self._try(call, pair)
        if answer.status in (401, 403) and await self._keys.renewed(pair):
            answer = await self._try(call, await self._keys.read())
        error = meaning(answer.status, answer.body, retry_after=answer.retry_after, headers=answer.headers)
        if error is not None:
            raise error
        return answer

    async def _try(self, call: Call, pair: Pair) -> Answer:
        timestamp = self._timestamp()
        signed = signature(call.method, call.target, timestamp, pair.access, pair.secret)
        headers = {
            "Accept": call.accept,
            **self._headers,
            "x-ncp-apigw-timestamp": str(timestamp),
            "x-ncp-iam-access-key": pair.access,
            "x-ncp-apigw-signature-v2": signed,
        }
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        url = self._url + call.target
        return await self._client.request(call.method, url, call.body, headers, hide=(*pair, signed), most=call.most)

    def _timestamp(self) -> int:
        """Now, as the far side has it; never the same twice, so that no request can pass for a copy of another."""
        now = self.clock.now_ms()
        if now <= self._signed_ms < now + SAME_MOMENT:
            now = self._signed_ms + 1
        self._signed_ms = now
        return now
