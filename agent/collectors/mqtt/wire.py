"""
What a connection to a broker is to the rest of the collector, whichever version of MQTT it speaks.

    connection ──subscribe, ping, resume──▸ Wire ◂──acknowledge, abort── Inbox
                                             └─────publish, release, flush──▸ Inbox
"""

from __future__ import annotations

import asyncio
import ssl
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from sys import byteorder
from typing import TYPE_CHECKING, Protocol

from agent.errors import AgentError
from agent.schema import Secret

if TYPE_CHECKING:
    from agent.collectors.mqtt.inbox import Inbox

# An acknowledgement as one number: the fixed header, the remaining length 2, and the packet id to be put in.
# Reason code 0 may be left out in MQTT 5, so these four bytes are right in both versions.
PUBACK, PUBREC, PUBCOMP = 0x40020000, 0x50020000, 0x70020000

# Whatever Maximum Packet Size says, a packet up to this size is read: it is intake that refuses what is too
# large, with a dead letter. Breaking the connection instead would meet the same packet again, for ever.
MAX_PACKET = 16 * 1024 * 1024


class Broken(AgentError):  # noqa: N818 named like the others of the tree
    """The connection is gone, or cannot be made. `taken_over`: another client came with our client id."""

    def __init__(self, reason: str, *, taken_over: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.taken_over = taken_over


class Refused(Broken):
    """The broker does not want us. `operator`: only a person can mend it (credentials, permissions)."""

    def __init__(self, reason: str, *, operator: bool) -> None:
        super().__init__(reason)
        self.operator = operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One subscription as the broker is asked for it."""

    filter: str
    qos: int
    retained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """All that one connection needs to know about its broker."""

    host: str
    port: int
    websocket: str | None = None  # its path
    tls: Callable[[], ssl.SSLContext] | None = None  # reads files: call it off the loop
    client_id: str
    username: str = ""
    password: Secret = field(default_factory=Secret)
    proxy: str = ""
    keepalive: float
    session_expiry: float  # 0: a clean session
    receive_maximum: int
    max_packet: int
    coalesce: float
    connect_timeout: float


class Wire(Protocol):
    """One open connection. Everything here is called on the loop and waits for nothing."""

    resumed: bool  # the broker kept the session of our client id
    keepalive: float  # seconds, as agreed with the broker
    closed: asyncio.Future[Broken]  # done when the connection is gone

    @property
    def held(self) -> bool:
        """Whether reading waits for room in the inbox, so that no answer can be expected."""

    @property
    def answered(self) -> bool:
        """Whether the broker has answered every ping."""

    def acknowledge(self, words: list[int]) -> None:
        """Send these acknowledgements, in this order, in one write."""

    def resume(self) -> None:
        """Read on: the inbox has room again."""

    def ping(self) -> None:
        """Ask for a sign of life. The answer follows everything that the broker took before."""

    def subscribe(self, wanted: Sequence[Wanted]) -> asyncio.Future[list[int]]:
        """Ask for these topics; what comes is for each the QoS granted, or a reason code from 0x80 on."""

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for these topics no more."""

    def abort(self, reason: str) -> None:
        """Drop the connection."""


# Opens a connection for as long as the block lasts; raises Broken (or OSError) where it cannot be made.
OpenWire = Callable[["Target", "Inbox"], AbstractAsyncContextManager[Wire]]


def packed(words: list[int]) -> bytes:
    """Acknowledgements as they go over the wire."""
    numbers = array("I", words)
    if byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()
