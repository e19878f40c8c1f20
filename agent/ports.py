"""
The contracts that plugins meet: what a collector and a sink are.

Both are frozen dataclasses whose fields are their options (declared with `schema.option`), so that
reading agent.toml gives the plugin itself. Construction does no I/O and starts nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from agent.record import Emission, Run
from agent.stats import Part, Stats

# Called on the loop. It takes the records over at once, without waiting, and gives a future that is
# done when they are durable (or their dead letters are): await it before anything is acknowledged.
# It stays undone while the disk is full: that is the back-pressure, so keep a bound on what is undone.
Emit = Callable[[Emission], "asyncio.Future[None]"]


class Redeliveries(Protocol):
    """What is stored but was not yet known to be acknowledged when the agent last ended (MQTT)."""

    def unacked(self) -> Mapping[int, int]:
        """Packet id -> payload hash, as stored in the spool for this collector."""

    def checkpoint(self) -> object:
        """Name the present moment: everything durable by now."""

    def confirm(self, checkpoint: object) -> None:
        """The broker has provably taken every acknowledgement sent before that checkpoint."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a collector is told about where it runs."""

    name: str  # NAME of [collectors.NAME]
    hostname: str
    instance: str  # 16 hex digits, made once per state directory: the seed of stable client ids
    stats: Stats
    part: Part  # say up/down and beat here
    redeliveries: Redeliveries
    previous: tuple[str, ...] = ()  # MQTT filters this collector had when the agent last ran: unsubscribed if gone


class Collector(Protocol):
    """
    Reads something and emits records.

    `sampled`: it only looks, so that looking once more, beside a running agent, takes nothing away.
    """

    sampled: ClassVar[bool]

    async def run(self, emit: Emit, context: Context) -> None:
        """Work until cancelled. What fails is waited out and tried again in here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a sink takes at once."""

    records: int = 500  # per batch
    bytes: int = 512 * 1024  # of a batch's uncompressed data
    in_flight: int = 1  # batches sent at the same time
    linger: float = 1.0  # seconds to wait for a batch to fill; after a quiet time the first goes at once
    # Above 0: a batch holds what was taken in within one such stretch of wall-clock seconds (their bounds are
    # multiples of it), and goes once that stretch is over: for services that reckon by the minute.
    window: float = 0.0
    max_age: float | None = None  # seconds after which a record is of no use to it; None: as [spool] has it


@dataclass(frozen=True, slots=True)
class Parcel:
    """A batch as it is sent: the same id means the same data, always (promise 3)."""

    id: str
    body: bytes  # what `pack` made
    count: int


Send = Callable[[Parcel], Awaitable[None]]


class Sink(Protocol):
    """
    Sends batches to one far side.

    A batch goes through three steps: `encode` (its data: pure, so that the same records always give
    the same bytes; their crc32 names the batch), `pack` (envelope and compression: pure; the result
    is kept for retries) and `send`. Delivery owns batching, plans, retries and blame; a sink only
    says what happened, by raising one of the DeliveryErrors, or Unfit for what can never be sent.

    A sink may have more: `selects` (what the table's `select` is unless given), `outlook(tags)` (lines
    for `check`: what it will cost at the far side), and `async verify(say)` (for `verify-delivery`: sends one
    marked thing, reads it back, and gives the evidence in a line; raises Unverified or a DeliveryError), and
    `selection_warnings(select)` (what is doubtful about records of those sources going there, as `warnings` gives it),
    and `collector_warnings(collectors)` (likewise about what these will give it: name -> type and collector).
    """

    kind: ClassVar[str]

    @property
    def limits(self) -> Limits:
        """How much it takes at once."""

    def encode(self, run: Run) -> bytes:
        """The data of a batch. Pure; may run in a thread. Raises Unfit for records it can never send."""

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        """The body to send, with envelope and compression. Pure; may run in a thread."""

    def open(self) -> AbstractAsyncContextManager[Send]:
        """Hold what sending needs. `send` returns once the far side has taken the parcel."""
