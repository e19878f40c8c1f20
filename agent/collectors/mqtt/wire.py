"""
What a connection to a broker is to the rest of the collector, whichever version of MQTT it speaks.

    connection ──subscribe, ping──▸ Wire ◂──acknowledge, resume, abort── Receiver
                                     └────take, publish, release, flush──▸ (the inbox)
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from sys import byteorder
from typing import Protocol

from agent.errors import AgentError
from agent.schema import Secret

# An acknowledgement as one number: the fixed header, the remaining length 2, and the packet id to be put in.
# Reason code 0 may be left out in MQTT 5, so these four bytes are right in both versions.
PUBACK, PUBREC, PUBCOMP = 0x40020000, 0x50020000, 0x70020000

# Bits of a PUBLISH packet's first byte.
FLAGS, DUP, QOS, RETAIN = 0x0F, 0x08, 0x06, 0x01
QOS1, QOS2 = 0x02, 0x04

# Whatever Maximum Packet Size says, a packet up to this size is read: it is intake that refuses what is too
# large, with a dead letter. Breaking the connection instead would meet the same packet again, for ever.
MAX_PACKET = 16 * 1024 * 1024


class Broken(AgentError):  # noqa: N818 named like the others of the tree
    """
    The connection is gone, or cannot be made.

    `taken_over`: another client came with our client id, says the broker. `silent`: the connection was ended and nobody
    said why, as is the way of many brokers then. `operator`: only a person can mend it (credentials, permissions,
    certificates).
    """

    def __init__(self, reason: str, *, taken_over: bool = False, silent: bool = False, operator: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.taken_over = taken_over
        self.silent = silent
        self.operator = operator


class Refused(Broken):
    """The broker does not want us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One subscription as the broker is asked for it."""

    filter: str
    qos: int
    retained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the broker and we show each other who we are."""

    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """All that one connection needs to know about its broker."""

    name: str  # of the collector, for what is said to a person
    host: str
    port: int
    websocket: str | None = None  # its path
    tls: Tls | None = None
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


class Receiver(Protocol):
    """Who takes what comes over the wire. Everything here is called on the loop and waits for nothing."""

    def begin(self, wire: Wire, *, resumed: bool) -> None:
        """A connection is open; nothing of it was read yet."""

    def take(
        self, topics: Sequence[str], payloads: Sequence[bytes], packets: Sequence[int], flags: Sequence[int]
    ) -> None:
        """Messages have come, in columns: as `publish` has them, packet 0 where there is none."""

    def publish(self, topic: str, payload: bytes, packet: int, flags: int) -> None:
        """A message has come; `flags` are the low bits of its first byte."""

    def release(self, packet: int) -> None:
        """A QoS 2 message is released, and the broker wants to hear that it is forgotten."""

    def forget(self, packet: int) -> None:
        """The broker will not send this QoS 2 message again."""

    def flush(self) -> None:
        """Nothing more to read for now."""

    def must_wait(self) -> bool:
        """Whether to stop reading until `Wire.resume` is called."""

    def end(self) -> None:
        """The connection is gone."""


# Opens a connection for as long as the block lasts; raises Broken (or OSError) where it cannot be made.
OpenWire = Callable[[Target, Receiver], AbstractAsyncContextManager[Wire]]


def packed(words: list[int]) -> bytes:
    """Acknowledgements as they go over the wire."""
    numbers = array("I", words)
    if byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()
