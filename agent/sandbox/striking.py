"""How a fault meets a request on its way: it ends the way, or only delays it."""

from __future__ import annotations

import asyncio
from typing import Generic, Protocol, TypeVar

from aiohttp import web

from agent.sandbox import serving
from agent.sandbox.faults import Fault, Faults, Stage, Subject

Reached = TypeVar("Reached")


class Entry(Protocol):
    """A request in the books."""

    fault: str


class StruckError(Exception, Generic[Reached]):
    """A fault met the request and ends its way; `reached` is what had become of it, None where nothing had."""

    def __init__(self, fault: Fault, reached: Reached | None = None) -> None:
        super().__init__(fault.name)
        self.fault, self.reached = fault, reached


async def meet(faults: Faults, stage: Stage, subject: Subject, entry: Entry, reached: Reached | None = None) -> None:
    """Let a fault strike, if there is one for this request here. Raises StruckError unless it only delays."""
    fault = faults.strike(stage, subject)
    if fault is None:
        return
    entry.fault = fault.name
    if fault.action != "none":
        raise StruckError(fault, reached)
    await asyncio.sleep(fault.delay)


async def end(
    request: web.BaseRequest, entry: Entry, fault: Fault, closing: asyncio.Event
) -> web.StreamResponse | None:
    """What a fault makes of the connection once its delay is over; None where something is to be said."""
    entry.fault = fault.name
    await asyncio.sleep(fault.delay)
    match fault.action:
        case "hang":
            return await serving.hang(request, closing)
        case "reset":
            return serving.reset(request)
        case _:
            return None
