"""
Makes an annotation out of a record: its time, and what, tags and data by the operator's templates.

Values are put in once and never looked at again; numbers stay as they were written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from agent.errors import BadPayload
from agent.events.rule import OWN, SOURCE
from agent.sinks.rackspace.escaping import cut, tidy
from agent.template import Template

PLACES = ("source", "ts", "time", "id", "host", "tags", "fields", "record", "pairs")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """
    An event on its way; `newest` is the newest time of its batch and tells whose clock gave `ts`.

    `is_own`: the agent speaks of itself, of something that may be long past, so that its own clock gave `ts` anyway.
    """

    ts: int  # epoch milliseconds
    what: str
    tags: str
    data: str
    newest: int = 0
    is_own: bool = False


decode = msgspec.json.Decoder(Annotation).decode


@dataclass(frozen=True, slots=True)
class Texts:
    """The templates of an annotation. Of those of `what`, the first that is not blank counts."""

    what: tuple[Template, ...]
    tags: Template
    data: Template

    def annotation(self, record: bytes, name: str) -> Annotation:
        """The annotation of a record with that id. Raises BadPayload where there is nothing to say."""
        values = _values(record, name, self._names())
        what = next((text for each in self.what if (text := each.render(values)).strip()), "")
        if not what:
            raise BadPayload("nothing in it makes a text for what, which must not be empty")
        # A place without a value leaves two blanks, and on some servers the whole of tags is what a query compares.
        tags = re.sub(" {2,}", " ", self.tags.render(values)).strip(" ")
        return Annotation(
            ts=int(_members(record)["ts"]),
            what=cut(tidy(what)),
            tags=cut(tidy(tags)),
            data=cut(tidy(self.data.render(values))),
            is_own=_text(_members(record)["source"]) == SOURCE + OWN,
        )

    def _names(self) -> frozenset[str]:
        return frozenset().union(*(each.names for each in (*self.what, self.tags, self.data)))


def is_place(name: str) -> bool:
    """Whether a template may have a place of that name."""
    return name in PLACES or any(name.startswith(part) and name != part for part in ("tags.", "fields."))


def time_text(ts: int) -> str:
    """A time in epoch milliseconds as RFC 3339; outside the calendar the number it is."""
    try:
        moment = _EPOCH + timedelta(milliseconds=ts)
    except OverflowError:
        return str(ts)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _values(record: bytes, name: str, names: frozenset[str]) -> Mapping[str, str]:
    parts = _members(record)
    tags, fields = parts["tags"], parts["fields"]
    whole: Mapping[str, Callable[[], str]] = {
        "source": lambda: _text(parts["source"]),
        "ts": parts["ts"].decode,
        "time": lambda: time_text(int(parts["ts"])),
        "id": lambda: name,
        "host": lambda: _at(tags, "host"),
        "tags": tags.decode,
        "fields": fields.decode,
        "record": record.decode,
        "pairs": lambda: _pairs(tags, fields),
    }
    values = {}
    for each in names:
        part, _, path = each.partition(".")
        values[each] = whole[each]() if each in whole else _at(tags if part == "tags" else fields, path)
    return values


def _pairs(tags: bytes, fields: bytes) -> str:
    """Tags, then fields but for `what`, as name=value: readable, and mostly free of what needs escaping."""
    pairs = [*_leaves("", tags), *((name, value) for name, value in _leaves("", fields) if name != "what")]
    return ", ".join(f"{name}={value}" for name, value in pairs)


def _leaves(prefix: str, json_object: bytes) -> Iterator[tuple[str, str]]:
    for name, value in _members(json_object).items():
        if value[:1] == b"{":
            yield from _leaves(f"{prefix}{name}.", value)
        elif value != b"null":
            yield prefix + name, _text(value)


def _at(json_object: bytes, path: str) -> str:
    """The value at a path such as `disk.used`, "" where there is none. A name may itself hold dots."""
    found = _find(json_object, path)
    return "" if found is None else _text(found)


def _find(json_object: bytes, path: str) -> bytes | None:
    members = _members(json_object)
    if path in members:
        return members[path]
    for dot in re.finditer(r"\.", path):
        inner = members.get(path[: dot.start()], b"")
        if inner[:1] == b"{" and (found := _find(inner, path[dot.end() :])) is not None:
            return found
    return None


def _members(json_object: bytes) -> dict[str, bytes]:
    try:
        return {name: bytes(value).strip() for name, value in _read(json_object).items()}
    except msgspec.DecodeError:
        # JSON allows half a surrogate pair ("\ud800"), msgspec does not.
        return {name: json.dumps(value).encode() for name, value in json.loads(json_object).items()}


def _text(value: bytes) -> str:
    """A JSON value for people: a string without its quotation marks, null as nothing."""
    if value[:1] == b'"':
        return str(json.loads(value))
    return "" if value == b"null" else value.decode()
