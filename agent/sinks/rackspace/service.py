"""The tenant's service: every request to it, with its token and at its pace, and what its answers tell on the side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from agent.errors import DeliveryError, Retryable, Unverified
from agent.far_clock import FarClock
from agent.http import Answer, url_problems
from agent.sinks.rackspace.answers import verdict
from agent.sinks.rackspace.catalog import Access
from agent.sinks.rackspace.identity import Identity
from agent.sinks.rackspace.options import RackspaceOptions
from agent.sinks.rackspace.pace import Pace
from agent.sinks.rackspace.quota import Quota

if TYPE_CHECKING:
    from agent.http.client import Client

# Never a header named tenantId: Blueflood believes it before the path (6557fd4f, the router adds the path's to it).
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

Event = Mapping[str, str | int]  # what, when, tags and data, as they go into a request


class Service:
    """One tenant's events. Without a user name it is a Blueflood of one's own, which asks for no token."""

    def __init__(self, options: RackspaceOptions, client: Client, rng: Random) -> None:
        self.clock = FarClock("rackspace")
        self._options = options
        self._client = client
        self._pace = Pace(options.rate)
        self._quota = Quota(self._pace)
        self._ingest_url = options.url or ""  # as last used
        self._doubted = False  # the clock, already before the last event
        self._identity: Identity | None = None
        if options.username and options.api_key:
            user = (options.username, options.api_key)
            self._identity = Identity(options, options.identity_url, *user, client, self.clock, rng)

    async def turn(self) -> None:
        """Wait until one more event may go. Raises Throttled where that is not soon, and what getting a token may."""
        if self._identity is not None:
            # Its answer is the first that tells the time, and no event is to be dated by a clock that it doubts.
            await self._identity.token()
            doubted, self._doubted = self.clock.in_doubt and not self._doubted, self.clock.in_doubt
            if doubted or self._quota.take_up():
                await self._read_limits()
        await self._pace.turn()

    async def _read_limits(self) -> None:
        self._pace.charge(asyncio.get_running_loop().time())
        try:
            answer = await self._ingest("GET", "limits")
        except DeliveryError:
            return  # the event that comes next meets the same trouble, and tells of it
        self._quota.heard(answer, self.clock.now())

    async def post(self, event: Event) -> Answer:
        """
        Post an event, after a `turn`; its values are written as the server needs them.

        Raises a DeliveryError where there is no answer, or the last word on our credentials.
        """
        body = orjson.dumps({key: value for key, value in event.items() if value})
        answer = await self._ingest("POST", "events", body)
        self._quota.count(throttled=answer.status in (413, 429) and answer.retry_after is None)
        return answer

    def is_of_another_time(self, answer: Answer) -> bool:
        """Whether a refusal that was about the time has shown that our clock differs from the far side's."""
        return self.clock.learn(answer.date, self._ingest_url, refused=True)

    def be_readable(self) -> None:
        """Raises Unverified where nothing could be read back, so that nothing need be posted for it."""
        if self._options.query_url is None and self._identity is None:
            raise Unverified("query_url is not set, so nothing can be read back")

    async def events(self, from_ms: int, until_ms: int) -> list[Mapping[str, Any]]:
        """
        The events between two times, both included, in no order (Blueflood, getEvents). Raises a DeliveryError.

        Times in milliseconds are the one form that is compared with what is stored as it is.
        """
        self.be_readable()
        access = await self._identity.token() if self._identity else None
        base = self._options.query_url or (access.query if access else "")
        path = f"/v2.0/{self._options.tenant}/events/getEvents?from={from_ms}&until={until_ms}"
        answer = await self._request("GET", base, path, None, access)
        if refused := verdict(answer):
            raise refused
        try:
            found = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise Retryable("the list of events cannot be read") from error
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def _ingest(self, method: str, what: str, body: bytes | None = None) -> Answer:
        """A request to the ingest side; a token that is refused is renewed and the request sent again, once."""
        path = f"/v2.0/{self._options.tenant}/{what}"
        if self._identity is None:
            return await self._request(method, self._ingest_url, path, body, None)
        access = await self._identity.token()
        self._ingest_url = self._options.url or access.ingest
        answer = await self._request(method, self._ingest_url, path, body, access)
        if answer.status == 401:
            access = await self._identity.renewed(access.token)
            self._pace.charge(asyncio.get_running_loop().time())
            answer = await self._request(method, self._ingest_url, path, body, access)
            if answer.status == 401:
                raise self._identity.hold("the service refuses a new token as well")
        self._identity.accepted()
        return answer

    async def _request(self, method: str, base: str, path: str, body: bytes | None, access: Access | None) -> Answer:
        if access is not None and (problems := url_problems("url", base, self._options.api_key, self._options)):
            raise Retryable(f"the address in Identity's catalog: {problems[0][1]}; set url", operator=True)
        token = {"X-Auth-Token": access.token} if access else {}
        url = base.rstrip("/") + path
        answer = await self._client.request(method, url, body, _HEADERS | token, hide=list(token.values()))
        self.clock.learn(answer.date, url, refused=answer.status == 401)
        return answer
