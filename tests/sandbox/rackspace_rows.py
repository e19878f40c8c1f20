"""A row of what is known of Blueflood's events route: a request, the answer, what is stored; and how rows are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TENANT = "123456"
PATH = f"/v2.0/{TENANT}/events"
EVENT = '{"what":"x","when":NOW}'
PLAIN: Mapping[str, object] = {"tenant": TENANT, "what": "x", "when": "NOW", "tags": "", "data": ""}
LIMIT = 1_048_576
OUT_OF_BOUNDS = (
    "Out of bounds. Cannot be more than 259200000 milliseconds into the past. "
    "Cannot be more than 600000 milliseconds into the future"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`says` is the message's beginning or, with `sources`, not looked at; `stored` is None where nothing is."""

    fact: str
    case: str
    status: int | None = 200
    method: str = "POST"
    path: str = PATH
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = EVENT
    coded: Callable[[bytes], bytes] = bytes
    says: str = ""
    error_tenant: str = TENANT
    sources: Mapping[str, str] = field(default_factory=dict)
    allow: str | None = None
    stored: Mapping[str, object] | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def stored(**changes: object) -> Mapping[str, object]:
    return {**PLAIN, **changes}


def route(case: str, path: str, status: int | None, method: str = "POST", **more: object) -> Row:
    return Row(fact="1.1 path", case=case, path=path, status=status, method=method, **more)  # type: ignore[arg-type]


def taken(fact: str, case: str, **more: object) -> Row:
    return Row(fact=fact, case=case, **{"stored": PLAIN, **more})  # type: ignore[arg-type]


def refused(fact: str, case: str, body: str, says: str = "Invalid Data: ", status: int = 400, **more: object) -> Row:
    return Row(fact=fact, case=case, body=body, says=says, status=status, **more)  # type: ignore[arg-type]


def bounds(case: str, body: str) -> Row:
    return Row(fact="1.2 when", case=case, body=body, status=400, sources={"when": OUT_OF_BOUNDS})


def valued(fact: str, case: str, name: str, text: str, value: object) -> Row:
    """A field's JSON text and what is stored of it."""
    pairs = {"what": '"x"', "when": "NOW", name: text}
    body = "{" + ",".join(f'"{key}":{item}' for key, item in pairs.items()) + "}"
    return Row(fact=fact, case=case, body=body, stored=stored(**{name: value}))


def with_data(text: str) -> str:
    return json.dumps({"what": "x", "when": "NOW", "data": text}, ensure_ascii=False)


def escaping(case: str, value: str, naive: str | None, **more: object) -> list[Row]:
    """A value of `data`: what the builder without escapes makes of it (None: 500), and the one with them."""
    body = with_data(value)
    if naive is None:
        first = refused("1.3 values", case, body, "Error: Elasticsearch request failed: ", 500)
    else:
        first = taken("1.3 values", case, body=body, stored=stored(data=naive, **more))
    escaped = taken("1.3 values", f"{case}, escaped", body=body, stored=stored(data=value), options={"mode": "escaped"})
    return [first, escaped]


def sized(total: int) -> str:
    """A body of exactly so many bytes once NOW has become 13 digits; white space takes the room."""
    rest = len('{"what":"x","when":}') + 13
    return '{"what":"x","when":NOW' + " " * (total - rest) + "}"
