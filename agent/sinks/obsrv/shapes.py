"""
Makes events out of records: the payload itself, everything flat, or the record as it is.

Bytes are cut and joined, numbers are never read: what a device wrote is what arrives. That relies on
the layout that `agent.record` gives every record, and on JSON strings never holding a bare quotation mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec
import orjson

from agent.errors import BadPayload

TimeFormat = Literal["ms", "s", "rfc3339"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOST = re.compile(rb'[{,]"host":("(?:[^"\\]|\\.)*")')
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Cut(NamedTuple):
    """A record in its four parts, each as JSON."""

    ts: bytes
    source: bytes
    tags: bytes
    fields: bytes


def cut(record: bytes) -> Cut:
    """Take a record apart."""
    source = record.index(b',"source":')
    tags = record.index(b',"tags":{', source)
    fields = record.index(b'},"fields":', tags)
    return Cut(record[6:source], record[source + 10 : tags], record[tags + 8 : fields + 1], record[fields + 11 : -1])


def time_as(ts: bytes, format: TimeFormat) -> bytes:
    """A record's time (epoch milliseconds) as JSON of that format. Raises BadPayload."""
    if format == "ms":
        return ts
    if format == "s":
        return b"%d" % (int(ts) // 1000)
    try:
        moment = _EPOCH + timedelta(milliseconds=int(ts))
    except OverflowError:
        raise BadPayload("its time lies outside the calendar") from None
    return b'"%b"' % moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def key_of(name: str | None) -> Key | None:
    """The key of that name, where there is one."""
    return Key(name, name_of(name)) if name else None


def fields_of(record: bytes) -> bytes:
    """A record's fields, as JSON."""
    return record[record.index(b'},"fields":') + 11 : -1]


def time_of(record: bytes) -> bytes:
    """A record's time, epoch milliseconds."""
    return record[6 : record.index(b",")]


def host_of(record: bytes) -> bytes | None:
    """A record's tag `host`, as JSON."""
    found = _HOST.search(record, 0, record.index(b'},"fields":') + 1)
    return found[1] if found else None


def members(json_object: bytes) -> dict[str, bytes]:
    """The members of an object, values as they were written; of several with one name the last."""
    try:
        return {name: bytes(value) for name, value in _members(json_object).items()}
    except msgspec.DecodeError:
        # JSON allows half a surrogate pair ("\ud800"), msgspec does not.
        return {name: json.dumps(value).encode() for name, value in json.loads(json_object).items()}


def name_of(name: str) -> bytes:
    """A name as JSON."""
    try:
        return orjson.dumps(name)
    except orjson.JSONEncodeError:
        return json.dumps(name).encode()


class Key(NamedTuple):
    """A key that the operator has named, as text and as JSON."""

    text: str
    json: bytes


def with_missing(json_object: bytes, additions: list[tuple[Key, bytes]]) -> bytes:
    """
    The object with these members in front, but for those it has already: what a device says, wins.

    It wins as well where it writes a name with escapes and so goes unseen: of two members the last counts.
    """
    present: dict[str, bytes] | None = None
    added = []
    for key, value in additions:
        if key.json in json_object:
            present = members(json_object) if present is None else present
            if key.text in present:
                continue
        added.append(key.json + b":" + value)
    rest = json_object[1:].lstrip()
    if not added:
        return json_object
    return b"{" + b",".join(added) + (rest if rest[:1] == b"}" else b"," + rest)


class Flat:
    """One object without objects inside, under construction. Arrays stay as they are."""

    def __init__(self, separator: str, limit: int) -> None:
        self._separator = separator
        self._room = limit
        self._members: dict[str, bytes] = {}

    def add(self, name: str, value: bytes, *, part: str) -> None:
        """Who comes first keeps a name; a later one gets that of its part in front, then a number behind."""
        if name in self._members:
            name = part + self._separator + name
        stem, number = name, 2
        while name in self._members:
            name, number = f"{stem}{self._separator}{number}", number + 1
        self._members[name] = value
        # Long names over many members can blow a small record up to gigabytes.
        self._room -= len(name) + len(value)
        if self._room < 0:
            raise BadPayload("too large once it is flat")

    def add_all(self, json_object: bytes, *, part: str, rename: dict[str, str]) -> None:
        """Every member, those of inner objects under the joined names."""
        for name, value in self._leaves("", json_object):
            self.add(rename.get(name, name), value, part=part)

    def add_missing(self, name: str, value: bytes) -> None:
        """A member, unless there is one of that name."""
        if name not in self._members:
            self.add(name, value, part="")

    def render(self) -> bytes:
        """The object as JSON."""
        return b"{" + b",".join([name_of(name) + b":" + value for name, value in self._members.items()]) + b"}"

    def _leaves(self, prefix: str, json_object: bytes) -> Iterator[tuple[str, bytes]]:
        for name, value in members(json_object).items():
            value = value.strip()
            if value[:1] == b"{" and value[1:].strip() != b"}":
                yield from self._leaves(prefix + name + self._separator, value)
            else:
                yield prefix + name, value
