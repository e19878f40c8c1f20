"""
The query side of Blueflood, of which getEvents alone is here.

Sources: Blueflood 6557fd4f, HttpEventsQueryHandler, DateTimeParser, ElasticsearchRestHelper (fetchEvents).
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from agent.sandbox.rackspace import answers, elasticsearch, ingest
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.ledger import Stored
from agent.sandbox.rackspace.state import State

_EVENTS = re.compile(r"/v2\.0/([^/]+)/events/getEvents")
_ANYONE = {"Access-Control-Allow-Origin": "*"}
_OPTIONS = {**_ANYONE, "Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "X-Auth-Token, Accept"}
_VERBS = ("GET", "POST", "OPTIONS")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "mon": 30 * 86400, "y": 365 * 86400}


def answer(state: State, method: str, path: str, query: str, headers: Mapping[str, str]) -> Answer:
    """What the query side says; `path` is decoded, without its query."""
    if (refused := ingest.media(method, headers)) is not None:
        return refused
    if method not in _VERBS:
        return Answer(501)
    found = _EVENTS.fullmatch(path)
    if found is None:
        known = method == "GET" and path in ("/v1.0", "/v2.0")
        return Answer(200) if known else Answer(404)
    if method == "OPTIONS":
        return Answer(204, headers=_OPTIONS)
    if method != "GET":
        return Answer(405, headers={"Allow": "GET,OPTIONS"})
    tenant = ingest.tenant_of(headers, found[1])
    parameters = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
    if not parameters:
        return answers.error(400, tenant, "Error: Query should contain at least one query parameter")
    try:
        rows = _search(state, tenant, parameters)
    except ValueError as error:
        return answers.error(500, tenant, f"Error: {error}")
    return Answer(200, answers.dumps(rows), headers=_ANYONE)


def _search(state: State, tenant: str, parameters: Mapping[str, str]) -> list[dict[str, object]]:
    bounds = {name: when(parameters[name], state.clock.now()) for name in ("from", "until") if name in parameters}
    # The query, too, is built by putting the text between quotes as it is.
    tags = json.loads(f'"{parameters["tags"]}"') if parameters.get("tags") else None
    newest = time.time() - state.visible_after
    found = [
        item
        for item in state.ledger.events(tenant)
        if item.at <= newest
        and bounds.get("from", item.when) <= item.when <= bounds.get("until", item.when)
        and (tags is None or elasticsearch.matches(state.index, item.tags, tags))
    ]
    # By score, that is in no order anybody may rely on.
    found.sort(key=lambda item: zlib.crc32(f"{item.at} {item.what}".encode("utf-8", "replace")))
    return [_row(item) for item in found[: state.max_results]]


def _row(item: Stored) -> dict[str, object]:
    return {"what": item.what, "when": item.when, "data": item.data, "tags": item.tags, "tenantId": item.tenant}


def when(text: str, now: float) -> int:
    """
    A bound as the far side reads it: digits as they are, anything else as *seconds*; raises ValueError.

    The date parser turns digits taken for seconds into milliseconds, and the handler turns them back, so that
    milliseconds pass; what it reads as a date comes out in seconds and is compared with milliseconds all the same.
    Dates are read to the day here, which is all that such a comparison can tell.
    """
    plain = re.sub(r"[ ,_]", "", text)
    if not plain:
        raise ValueError('For input string: ""')
    if plain.isdecimal() and _date(plain) is None:
        number = int(plain[:20])
        if number >= 2**63:
            raise ValueError(f'For input string: "{plain}"')
        wrapped = (number * 1000 + 2**63) % 2**64 - 2**63  # a Java long
        return int(abs(wrapped) // 1000) * (1 if wrapped >= 0 else -1)
    sign = "+" if "+" in plain else "-"
    base, _, offset = plain.partition(sign)
    day = datetime.fromtimestamp(now, UTC)
    start = day.replace(second=0, microsecond=0) if base in ("", "now") else _date(base) or _midnight(day)
    return int((start + timedelta(seconds=_offset(sign, offset))).timestamp())


def _offset(sign: str, text: str) -> float:
    found = re.fullmatch(r"(\d*)([a-z]*)", text)
    if not text or found is None:
        return 0.0
    count = int(sign + found[1])
    for unit, seconds in _UNITS.items():
        if found[2].startswith(unit):
            return count * seconds
    return 0.0


def _date(text: str) -> datetime | None:
    for form in ("%Y%m%d", "%m/%d/%y", "%m/%d/%Y"):
        try:
            if len(text) == 8 or "/" in text:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _midnight(day: datetime) -> datetime:
    return day.replace(hour=0, minute=0, second=0, microsecond=0)
