"""The text of an event: which names its template may have, and what stands for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.template import Template
from agent.units import format_duration

WHAT = "{rule} on {host}: {source} {field} is {value}, threshold {threshold} {tags}"
WHAT_CLEAR = "{rule} on {host} is over after {for}: {source} {field} is {value} {tags}"

# A value out of a payload may be as long as a record; what a person is to read, and a far side to take, may not.
LONGEST_VALUE = 256
LONGEST_TEXT = 1000

NAMES = (
    *("value", "threshold", "field", "source", "rule", "state", "host", "tags", "since", "for", "ts"),
    *("tags.X", "fields.X"),
)


def template(text: str) -> Template:
    """Read a template. Raises ValueError for one that cannot be read or has a name that nothing stands for."""
    read = Template.parse(text)
    for name in sorted(read.names):
        root, dot, rest = name.partition(".")
        if name in NAMES[:-2] or (root in ("tags", "fields") and dot and rest):
            continue
        import difflib  # needed after a mistake only

        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
        hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are {', '.join(NAMES)}"
        raise ValueError(f"nothing stands for {{{name}}}{hint}")
    return read


def values(known: Mapping[str, str], tags: Mapping[str, str], fields: Mapping[str, Any], wanted: Template) -> Any:
    """What stands for each name that a template has; `known` are those of the event itself."""
    found: dict[str, str] = dict(known)
    for name in wanted.names:
        root, dot, rest = name.partition(".")
        if name == "tags":
            found[name] = cut(", ".join(f"{tag}={value}" for tag, value in sorted(tags.items()) if tag != "host"))
        elif dot and root == "tags":
            found[name] = cut(tags.get(rest, ""))
        elif dot and root == "fields":
            found[name] = readable(_member(fields, rest))
    return found


def render(text: Template, found: Mapping[str, str], otherwise: str) -> str:
    """The text of an event, never empty and never too long."""
    return clean(text.render(found)).strip()[:LONGEST_TEXT] or otherwise


def readable(value: object) -> str:
    """A value out of JSON as text."""
    match value:
        case None:
            return ""
        case str():
            return cut(value)
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6g}" if 1e-4 <= abs(value) < 1e6 else repr(value)
        case int():
            return cut(str(value)) if abs(value) < 1 << 64 else repr(float(value))
        case _:
            return cut(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def plain(value: object) -> object:
    """A value as the field of an event holds it: a number as it is, where JSON's 64 bits hold it."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 64:
        return float(value)
    return value if isinstance(value, (bool, int, float)) else readable(value)


def cut(text: str) -> str:
    """As much of a text as an event shows of it."""
    text = text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
    return clean(text)


def clean(text: str) -> str:
    """The text as UTF-8 can hold it: half of a surrogate pair, which JSON's escapes allow, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def moment(time_ms: int) -> str:
    """A time for a person: `2026-03-01T12:00:00Z`."""
    try:
        return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a device may claim any time at all
        return str(time_ms)


def lasting(time_ms: int) -> str:
    """A stretch of time for a person, in whole seconds."""
    return format_duration(float(max(0, time_ms) // 1000))


def _member(fields: Mapping[str, Any], name: str) -> object:
    """Of that very name, or down the dotted path."""
    if name in fields:
        found: object = fields[name]
        return found
    head, dot, rest = name.partition(".")
    inner = fields.get(head)
    return _member(inner, rest) if dot and isinstance(inner, dict) else None
