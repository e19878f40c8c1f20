"""
What becomes of an event on its way into Elasticsearch, and what Elasticsearch makes of it.

Since January 2018 Blueflood builds the document by putting the values between quotes as they are; Elasticsearch then
parses it. Before, the values were serialised. Sources: Blueflood 0f74dbe3 and 6557fd4f, ElasticsearchRestHelper
(stringifyEvent, indexEvent) and init-es-6/events_mapping.json; Lucene's limit of a term.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from agent.sandbox.rackspace.event import Event

Mode = Literal["naive", "escaped"]
Index = Literal["keyword", "analysed"]  # the mapping for ES 6; the one for ES 1 and 2, which takes tags apart
MAX_TERM = 32_766  # bytes of UTF-8
# What java.net.URI refuses in a query: the tenant is put into one as it is.
_ILLEGAL = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]|%(?![0-9a-fA-F]{2})")
_ENDPOINT = "http://127.0.0.1:9200/events/graphite_event?routing="


class UnstoredError(Exception):
    """Elasticsearch's status and its words."""

    def __init__(self, status: int, said: str, reason: str) -> None:
        super().__init__(said)
        self.status, self.said, self.reason = status, said, reason


class AddressError(Exception):
    """The tenant makes no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is stored; `doubled` are the keys that came twice, which takes a crafted value."""

    tenant: str
    what: str | None
    when: int
    tags: str | None
    data: str | None
    doubled: tuple[str, ...] = field(default=())


def render(mode: Mode, tenant: str, event: Event) -> bytes:
    """The document as it goes over the wire; raises AddressError."""
    if found := _ILLEGAL.search(tenant):
        at = len(_ENDPOINT) + found.start()
        raise AddressError(f"Illegal character in query at index {at}: {_ENDPOINT}{tenant}")
    if mode == "escaped":
        value = {
            "what": event.what,
            "when": event.when,
            "tags": event.tags,
            "tenantId": tenant,
            "data": event.data,
        }
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = (
            f'{{"what": "{_java(event.what)}","when": "{event.when}","tags": "{_java(event.tags)}",'
            f'"tenantId": "{tenant}","data": "{_java(event.data)}"}}'
        )
    return text.encode("utf-8", "replace")  # a lone surrogate becomes `?`


def index(document: bytes, kind: Index, *, doubles: bool = True) -> Document:
    """Parse it strictly, check it against the mapping; raises UnstoredError. Without `doubles`, a key comes once."""
    seen: list[str] = []
    doubled: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, _ in items:
            (doubled if key in seen else seen).append(key)
        return dict(items)

    try:
        value = json.loads(document, object_pairs_hook=pairs, parse_constant=_no_constant)
    except ValueError as error:
        raise _unparsable(str(error)) from None
    if doubled and not doubles:
        raise _unparsable(f"Duplicate field '{doubled[0]}'")
    texts = {name: _text(name, value[name]) for name in ("what", "tags", "tenantId", "data")}
    for name, text in texts.items():
        size = len((text or "").encode())
        if size > MAX_TERM and (name != "tags" or kind == "keyword"):
            raise _immense(name, size)
    return Document(
        tenant=texts["tenantId"] or "",
        what=texts["what"],
        when=_date(value["when"]),
        tags=texts["tags"],
        data=texts["data"],
        doubled=tuple(doubled),
    )


def matches(kind: Index, tags: str | None, wanted: str) -> bool:
    """A term query for tags: the whole text, or one of its tokens."""
    if tags is None:
        return False
    return wanted == tags if kind == "keyword" else wanted in re.findall(r"\w+", tags.lower())


def refusal(status: int, kind: str, reason: str, **more: object) -> str:
    """Elasticsearch's own error body."""
    cause = {"type": kind, "reason": reason}
    return json.dumps({"error": {"root_cause": [cause], **cause, **more}, "status": status}, separators=(",", ":"))


REJECTED = refusal(
    429, "es_rejected_execution_exception", "rejected execution of processing of [1][indices:data/write/index]"
)
UNPARSABLE = refusal(400, "mapper_parsing_exception", "failed to parse")


def _java(value: str | None) -> str:
    return "null" if value is None else value


def _text(name: str, value: object) -> str | None:
    match value:
        case dict() | list():
            raise _unparsable(f"failed to parse field [{name}] of type [keyword]")
        case bool():
            return "true" if value else "false"
        case None:
            return None
        case _:
            return str(value).encode("utf-8", "replace").decode()


def _date(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise _unparsable("failed to parse field [when] of type [long]") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Unrecognized token '{name}'")


def _unparsable(detail: str) -> UnstoredError:
    cause: Mapping[str, str] = {"type": "json_parse_exception", "reason": detail}
    said = refusal(400, "mapper_parsing_exception", "failed to parse", caused_by=cause)
    return UnstoredError(400, said, "not JSON once built")


def _immense(name: str, size: int) -> UnstoredError:
    reason = (
        f'Document contains at least one immense term in field="{name}" (whose UTF8 encoding is longer than the max '
        f"length {MAX_TERM}), all of which were skipped."
    )
    detail = f"bytes can be at most {MAX_TERM} in length; got {size}"
    cause = {"type": "max_bytes_length_exceeded_exception", "reason": detail}
    return UnstoredError(400, refusal(400, "illegal_argument_exception", reason, caused_by=cause), "term too long")
