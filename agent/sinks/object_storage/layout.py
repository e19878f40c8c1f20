"""
Where in the bucket an object goes: `telemetry/{host}/dt=%Y-%m-%d/hour=%H/` becomes
`telemetry/pump-7/dt=2026-11-22/hour=19/`.

All that it depends on is the batch's: when its newest record was taken in, and that record's tags. So the same
batch has the same place whenever it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from agent.template import Template

# Those of strftime's directives that mean the same under every locale.
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_DIRECTIVES = "YmdHMjGVu%"
_TAG = "tags."
UNKNOWN = "unknown"  # in the place of a tag that the record does not have
MAX_VALUE = 100  # characters of a tag
MAX_PREFIX = 512  # bytes; a key has 1,024 (Object Storage's guide, "limits")
MAX_FOLDER = 896  # bytes that tags may make it; the rest is the name's. Nobody's tag is to hold a batch up for ever
_SEPARATORS = re.compile(r"[/\\\x00-\x1f\x7f]")


class _Tagged(msgspec.Struct):
    tags: dict[str, str]


_tags = msgspec.json.Decoder(_Tagged).decode


def folder(prefix: str, tz: str, newest_ms: int, record: bytes) -> str:
    """The prefix with its places filled; `record` is the batch's newest."""
    template = Template.parse(prefix)
    moment = datetime.fromtimestamp(newest_ms / 1000, ZoneInfo(tz))
    tags = _tags(record).tags if template.names else {}
    pieces = [each if n % 2 else _dated(each, moment) for n, each in enumerate(template.pieces)]
    room = (MAX_FOLDER - len("".join(pieces[::2]).encode())) // max(len(pieces[1::2]), 1)
    values = {name: _segment(tags.get(_tag_of(name), ""), max(room, 0)) for name in template.names}
    return Template(tuple(pieces)).render(values)


def _dated(text: str, moment: datetime) -> str:
    return _DIRECTIVE.sub(lambda found: moment.strftime(found[0]), text)


def _tag_of(name: str) -> str:
    return name.removeprefix(_TAG)


def _segment(value: str, room: int) -> str:
    """A value as a part of a key, of at most `room` bytes: it opens no folder, and is none that leads back."""
    text = _SEPARATORS.sub("-", value)[:MAX_VALUE].encode()[:room].decode(errors="ignore")
    return text if text.strip(".") else UNKNOWN


def problems(prefix: str, tz: str) -> Iterator[tuple[str, str]]:
    """What is wrong with the layout, as (option, text)."""
    try:
        ZoneInfo(tz)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a directory's name, an OSError
        yield "tz", f'no such time zone: {tz!r}; expected a name such as "Asia/Seoul"'
    try:
        template = Template.parse(prefix)
    except ValueError as error:
        yield "prefix", str(error)
        return
    for name in sorted(template.names):
        if name != "host" and not (name.startswith(_TAG) and name != _TAG):
            yield "prefix", f"{{{name}}} is none of its places: expected {{host}}, or a tag such as {{tags.site}}"
    for found in _DIRECTIVE.finditer("{}".join(template.pieces[::2])):
        if found[1] not in _DIRECTIVES or not found[1]:
            known = ", ".join(f"%{each}" for each in _DIRECTIVES)
            yield "prefix", f"{found[0]} is no part of a time: expected one of {known}"
    segments = prefix.split("/")
    if prefix and (not segments[0] or "" in segments[1:-1]):
        yield "prefix", 'has a name without characters: expected such as "telemetry/dt=%Y-%m-%d/", without a / in front'
    if any(each in (".", "..") for each in segments):
        yield "prefix", '"." and ".." are no names: they get lost on the way'
    if re.search(r"[\\\x00-\x1f\x7f]", prefix):
        yield "prefix", "has a backslash or a control character"
    if len(prefix.encode(errors="replace")) > MAX_PREFIX:
        yield "prefix", f"longer than {MAX_PREFIX} bytes"


def warnings(prefix: str) -> Iterator[tuple[str, str]]:
    """What is doubtful about the layout."""
    if any(each.startswith(("_", ".")) for each in prefix.split("/")):
        yield "prefix", "readers such as Spark pass over names that begin with _ or a dot"
