"""What brokers mean by their reason codes, in words for a person."""

from __future__ import annotations

from agent.schema import hidden

# MQTT 5 reason codes from 0x80 on: the enums of the codec know them by these names, lower-cased.
_NAMES = {
    128: "unspecified error",
    129: "malformed packet",
    130: "protocol error",
    131: "implementation specific error",
    132: "protocol version not supported",
    133: "client id not valid",
    134: "bad user name or password",
    135: "not authorized",
    136: "server unavailable",
    137: "server busy",
    138: "banned",
    139: "server shutting down",
    140: "bad authentication method",
    141: "keep alive timeout",
    142: "session taken over by another client with the same client id",
    143: "topic filter invalid",
    144: "topic name invalid",
    145: "packet id in use",
    147: "receive maximum exceeded",
    148: "topic alias invalid",
    149: "packet too large",
    150: "message rate too high",
    151: "quota exceeded",
    152: "administrative action",
    153: "payload format invalid",
    154: "retain not supported",
    155: "QoS not supported",
    156: "use another server",
    157: "server moved",
    158: "shared subscriptions not supported",
    159: "connection rate exceeded",
    160: "maximum connect time",
    161: "subscription ids not supported",
    162: "wildcard subscriptions not supported",
}

# The answers of MQTT 3.1.1 to CONNECT, which paho turns into those of MQTT 5.
_CONNACK_311 = {132: 1, 133: 2, 136: 3, 134: 4, 135: 5}

_CREDENTIALS = {134, 135}

# Those that no waiting mends.
_OPERATOR = {132, 133, 134, 135, 138, 140, 156, 157}


def name(code: int, said: str | None = None, *, password: str = "") -> str:
    """A reason code in words, with what the broker said beside it: on one line, printable, and not our password."""
    words = f"{_NAMES.get(code, 'unknown reason')} (0x{code:02x})"
    told = hidden(said or "", [password])
    told = " ".join("".join(char if char.isprintable() else " " for char in told).split())
    return f"{words}: {told[:200]}" if told else words


def name311(code: int) -> str:
    """The same for an answer to CONNECT under MQTT 3.1.1, with the code that the broker sent there."""
    sent = _CONNACK_311.get(code)
    return name(code) if sent is None else f"{_NAMES[code]} ({sent})"


def refusal(words: str, code: int, collector: str) -> str:
    """What is said of a refused connection."""
    advice = f"; check username and password of collectors.{collector}" if code in _CREDENTIALS else ""
    return f"the broker refused the connection: {words}{advice}"


def needs_operator(code: int) -> bool:
    """Whether only a person can mend that."""
    return code in _OPERATOR
