"""How payloads that are not simply spliced in become records: single values, text, tags and times out of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec
import orjson

from agent import payload as payloads
from agent.collectors.mqtt.options import Subscription, Time
from agent.errors import BadPayload
from agent.record import Parse, Parsed

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_string = msgspec.json.Decoder(str).decode

# A number as devices print it: with a plus sign, leading zeros, or no digit on one side of the point.
# What is taken for a leading zero stays one (`*+`): tried both ways, a long row of zeros would take its square in time.
_NUMBER = re.compile(rb"([+-]?)0*+([0-9]*+)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?", re.ASCII)
_WORDS = {b"true": b"true", b"false": b"false"}


def parser(subscription: Subscription, bad_time: Callable[[], None]) -> Parse | None:
    """
    What turns payloads of that subscription into records; None where intake can splice them in as they are.

    `bad_time` is called for every record that gets its arrival time because its own cannot be read.
    """
    match subscription.format:
        case "value":
            return value
        case "text":
            return text
        case "json" if subscription.tag_keys or subscription.time:
            return _Members(subscription.tag_keys, subscription.time, bad_time)
        case _:
            return None


def value(payload: bytes) -> list[Parsed]:
    """One number, true or false, or a JSON string."""
    stripped = payload.strip()
    if not stripped:
        raise BadPayload("an empty payload holds no value")
    word = _WORDS.get(stripped.lower())
    if word is not None:
        return [Parsed(b'{"value":%b}' % word)]
    if stripped[:1] == b'"':
        return [Parsed(fields) for fields in payloads.closely(stripped)]
    match = _NUMBER.fullmatch(stripped)
    if match is None or not (match[2] or match[3] or b"0" in stripped.lower().partition(b"e")[0]):
        raise BadPayload("expected a number, true, false or a JSON string")
    sign, whole, fraction, exponent = match.groups()
    number = (b"-" if sign == b"-" else b"") + (whole or b"0")
    number += (b"." + fraction if fraction else b"") + (exponent or b"")
    return [Parsed(fields) for fields in payloads.closely(number)]  # which refuses 1e400


def text(payload: bytes) -> list[Parsed]:
    """Any UTF-8 text, empty text too."""
    try:
        return [Parsed(b'{"value":%b}' % orjson.dumps(payload.decode()))]
    except UnicodeDecodeError as error:
        raise BadPayload(f"not UTF-8 at byte {error.start}") from None


class _Members:
    """JSON whose members give tags and the time. The fields stay the bytes that the device sent."""

    def __init__(self, tag_keys: tuple[str, ...], time: Time | None, bad_time: Callable[[], None]) -> None:
        self._tag_keys = tag_keys
        self._time = time
        self._read: Callable[[str], int] | None = None
        if time is not None:
            from agent.collectors.mqtt import stamps  # brings zoneinfo and decimal: for who reads times only

            self._read = stamps.reader(time.format, time.tz)
        self._bad_time = bad_time

    def __call__(self, payload: bytes) -> list[Parsed]:
        objects = [payload] if payloads.all_plain_objects([payload]) else payloads.closely(payload)
        return [self._record(fields) for fields in objects]

    def _record(self, fields: bytes) -> Parsed:
        members = _members(fields)
        tags = {}
        for key in self._tag_keys:
            found = find(members, key)
            if found is not None and found != b"null":
                tags[key] = _tag(key, found)
        return Parsed(fields, self._stamp(members), tags or None)

    def _stamp(self, members: dict[str, msgspec.Raw]) -> int | None:
        if self._time is None or self._read is None:
            return None
        found = find(members, self._time.key)
        try:
            if found is None:
                raise ValueError("missing")
            return self._read(_string(found) if found[:1] == b'"' else found.decode())
        except (ValueError, OverflowError) as error:
            if self._time.bad == "dead_letter":
                raise BadPayload(f"the time {self._time.key}: {error}") from None
            self._bad_time()
            return None


def find(members: dict[str, msgspec.Raw], key: str) -> bytes | None:
    """The JSON of a member: of that very name, or down the dotted path. None where there is none."""
    if key in members:
        return bytes(members[key])
    head, dot, rest = key.partition(".")
    if not dot or head not in members:
        return None
    inner = bytes(members[head])
    return find(_members(inner), rest) if inner[:1] == b"{" else None


def _members(fields: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object that was checked, each as JSON."""
    try:
        return _decode_members(fields)
    except msgspec.DecodeError:
        # Half of a surrogate pair in an escape: JSON's grammar allows it, msgspec does not.
        return {key: msgspec.Raw(json.dumps(value).encode()) for key, value in json.loads(fields).items()}


def _string(found: bytes) -> str:
    """The text of a JSON string that was checked; half a surrogate pair becomes a question mark."""
    try:
        return _decode_string(found)
    except msgspec.DecodeError:
        text: str = json.loads(found)
        return text.encode("utf-8", "replace").decode()


def _tag(key: str, found: bytes) -> str:
    if found[:1] == b'"':
        return _string(found)
    if found[:1] in (b"{", b"["):
        raise BadPayload(f"the tag {key} is no single value")
    return found.decode()
