"""
Sends events to Rackspace Metrics, or to a Blueflood of one's own: `POST /v2.0/<tenant>/events`, one a request.

There is no id that the far side would know an event by: one whose answer is lost is stored again. The data names the
record unless the template says otherwise, so that a reader can tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from secrets import token_hex
from typing import ClassVar

import msgspec

from agent.errors import BadPayload, TooLarge, Unfit, Unverified
from agent.http import open_client
from agent.ports import Limits, Send
from agent.record import Run, record_id
from agent.sinks.rackspace.answers import verdict
from agent.sinks.rackspace.options import RackspaceOptions
from agent.sinks.rackspace.probing import read_back
from agent.sinks.rackspace.sending import Sender
from agent.sinks.rackspace.service import Event, Service
from agent.sinks.rackspace.texts import decode

# After a post Elasticsearch takes a second to show it, on a busy day more.
VERIFY_WAITS = (1.2, 1.0, 2.0, 3.0, 5.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rackspace(RackspaceOptions):
    """Annotations (events) of Rackspace Metrics, or of a Blueflood of your own."""

    kind: ClassVar[str] = "rackspace"
    selects: ClassVar[tuple[str, ...]] = ("event.*",)

    @property
    def limits(self) -> Limits:
        """One at a time: there is nothing to gain beyond `rate`."""
        return Limits(records=1, in_flight=1, linger=0.0)

    def encode(self, run: Run) -> bytes:
        """The annotation. Raises Unfit where there is nothing to say."""
        if run.count > 1:
            raise TooLarge("a request carries a single event")
        try:
            note = self.templates.annotation(run.body, record_id(run.segment_id, run.first))
        except BadPayload as error:
            raise Unfit({0: str(error)}) from error
        return msgspec.json.encode(note)

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        """The annotation with its batch's time. The request is made of it when it is sent: it depends on the clock."""
        return msgspec.json.encode(msgspec.structs.replace(decode(data), newest=newest_ms))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        """Keep connections, the token, the pace, and what was found out about the server."""
        async with open_client(self) as client:
            rng = Random()
            yield Sender(self, Service(self, client, rng), rng).send

    async def verify(self, say: Callable[[str], None]) -> str:
        """Post one marked event and read it back (`verify-delivery`). Raises Unverified or a DeliveryError."""
        mark = f"telemetry-agent-{token_hex(8)}"
        async with open_client(self) as client:
            service = Service(self, client, Random())
            service.be_readable()
            await service.turn()
            when = service.clock.now_ms()
            what = "telemetry-agent verifies its delivery"
            event: Event = {"what": what, "when": when, "tags": mark, "data": f"id={mark}"}
            if refused := verdict(await service.post(event)):
                raise refused
            say(f"{self.tenant} took an event with tags = {mark}")
            found = await read_back(service, when, mark, VERIFY_WAITS)
        tenants = sorted({str(each.get("tenantId")) for each in found})
        if tenants != [self.tenant]:
            raise Unverified(f"the event {mark} was stored for {', '.join(tenants)} instead of {self.tenant}")
        times = "once" if len(found) == 1 else f"{len(found)} times"
        return f"the event {mark} stands there {times}, for tenant {self.tenant}"
