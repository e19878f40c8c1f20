"""
How this server wants values written: as told, or found out by posting one event and reading back what became of it.

The event holds a backslash sequence that any server takes. One that puts values into its documents as they are stores
the character it stands for; one that serialises stores the sequence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, Literal

import structlog

from agent.errors import DeliveryError, Rejected, Retryable, TooLarge, Unverified
from agent.http import worded
from agent.sinks.rackspace.answers import verdict
from agent.sinks.rackspace.escaping import Mode
from agent.sinks.rackspace.service import Event, Service

log = structlog.get_logger()

# Elasticsearch shows a document after its refresh, a second by default; Blueflood's own tests wait 1 to 1.2 s.
WAITS = (1.2, 1.5, 2.5, 4.0)
ASK_AGAIN = 3600.0
_SEQUENCE, _CHARACTER = "\\u0041", "A"


class Escapes:
    """The mode for this server; `choice` is the operator's."""

    def __init__(self, choice: Mode | Literal["auto"], service: Service) -> None:
        self._service = service
        self._auto = choice == "auto"
        self._mode: Mode | None = None if choice == "auto" else choice
        self._ask_at = 0.0
        self._unknown = False
        self._lock = asyncio.Lock()

    async def mode(self) -> Mode:
        """How to write values now. May post and read; raises a DeliveryError where nothing could be sent just now."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._mode is None and now >= self._ask_at:
                self._ask_at = now + ASK_AGAIN
                await self._find_out()
            return self._mode or "replace"

    def doubt(self) -> None:
        """A value was refused for what it holds: the server may be another one by now."""
        if self._auto and asyncio.get_running_loop().time() >= self._ask_at:
            self._mode = None

    async def _find_out(self) -> None:
        try:
            self._mode = await self._found()
        except (Rejected, TooLarge, Unverified) as error:
            self._is_unknown(str(error))
        except Retryable as error:
            if not error.ambiguous:
                self._ask_at = 0.0
                raise  # nothing goes there now, events as little as this
            self._is_unknown(error.reason)
        except DeliveryError:
            self._ask_at = 0.0
            raise
        else:
            self._unknown = False
            log.info("found how values are escaped", sink="rackspace", escape=self._mode)

    async def _found(self) -> Mode:
        self._service.be_readable()
        mark, when = token_hex(8), self._service.clock.now_ms()
        await self._service.turn()
        what = "telemetry-agent tests how values are escaped"
        event: Event = {"what": what, "when": when, "tags": "telemetry-agent-self-test", "data": f"{mark} {_SEQUENCE}"}
        if refused := verdict(await self._service.post(event)):
            raise refused
        try:
            (found, *_) = await read_back(self._service, when, mark, WAITS)
        except DeliveryError as error:
            raise Unverified(error.reason) from error
        match found.get("data"):
            case str(data) if data == f"{mark} {_CHARACTER}":
                return "json"
            case str(data) if data == f"{mark} {_SEQUENCE}":
                return "none"
            case _:
                raise Unverified("the event that was read back holds something else")

    def _is_unknown(self, reason: str) -> None:
        if not self._unknown:
            log.warning(
                "cannot find out how values are escaped, replaces quotation marks and backslashes meanwhile",
                sink="rackspace",
                reason=reason,
            )
        self._unknown = True


async def read_back(service: Service, when: int, mark: str, waits: Sequence[float]) -> list[Mapping[str, Any]]:
    """The events of that millisecond whose data hold the mark, once there are some. Raises Unverified."""
    for wait in waits:
        await asyncio.sleep(wait)
        found = [each for each in await service.events(when, when) if mark in worded(each.get("data"))]
        if found:
            return found
    raise Unverified(f"the event was taken, and could not be read within {sum(waits):.0f} s")
