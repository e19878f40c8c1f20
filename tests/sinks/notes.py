"""Events for the Rackspace sink, and a far side for them."""

from __future__ import annotations

import time
from typing import Any

import orjson
from far_side import record, run_of

from agent.ports import Parcel
from agent.sandbox.rackspace import Sandbox
from agent.schema import Secret
from agent.sinks.rackspace import Rackspace

KEY = "key-of-the-sandbox"
RATE = 900  # a minute: what is not about it shall not wait for it


def now_ms(seconds: float = 0.0) -> int:
    """The present moment, or so many seconds from it."""
    return int((time.time() + seconds) * 1000)


def hosted(sandbox: Sandbox, **options: Any) -> Rackspace:
    """The sink as it talks to the hosted service, which it finds in the catalog."""
    user = {"username": "agent", "api_key": Secret(KEY), "identity_url": sandbox.identity_url}
    return Rackspace(**{"tenant": "123456", "rate": RATE, **user, **options})


def own(sandbox: Sandbox, **options: Any) -> Rackspace:
    """The sink as it talks to a Blueflood of one's own."""
    return Rackspace(
        **{"tenant": "123456", "rate": RATE, "url": sandbox.url, "query_url": sandbox.query_url, **options}
    )


def event(what: str = "disk full", *, ts: int | None = None, **fields: Any) -> bytes:
    """A record as a rule makes it."""
    text = orjson.dumps({"what": what, "state": "firing", **fields})
    return record(text, ts=now_ms() if ts is None else ts, source="event.disk", host="web1")


def parcel(sink: Rackspace, source: bytes, *, newest: int | None = None) -> Parcel:
    """The record as delivery hands it over."""
    data = sink.encode(run_of([source]))
    return Parcel("batch", sink.pack("batch", now_ms() if newest is None else newest, data), 1)


async def send(sink: Rackspace, *sources: bytes, newest: int | None = None) -> None:
    """Send records, one after the other."""
    async with sink.open() as deliver:
        for source in sources or (event(),):
            await deliver(parcel(sink, source, newest=newest))
