"""
The ingest side of Blueflood, of which the events' route alone is here.

Sources: Blueflood 6557fd4f, QueryStringDecoderAndRouter, MediaTypeChecker, RouteMatcher, HttpEventsIngestionHandler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.sandbox.rackspace import answers, elasticsearch, event
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.elasticsearch import AddressError, UnstoredError
from agent.sandbox.rackspace.event import BodyError, Event
from agent.sandbox.rackspace.state import State

_EVENTS = re.compile(r"/v2\.0/([^/]+)/events")
_VERBS = ("GET", "POST")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An event in order, about to be stored."""

    tenant: str  # whose it is to be
    sent_to: str  # whose path it came by
    event: Event

    @property
    def fields(self) -> dict[str, object]:
        return {name: getattr(self.event, name) for name in Event.__slots__}


def check(state: State, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | Ready:
    """Everything that is looked at before Elasticsearch is asked; `path` is decoded, without its query."""
    if (refused := media(method, headers)) is not None:
        return refused
    if method not in _VERBS:
        return Answer(501)
    found = _EVENTS.fullmatch(path)
    if found is None:
        return _health(method, path)
    if method != "POST":
        return Answer(405, headers={"Allow": "POST"})
    tenant = tenant_of(headers, found[1])
    try:
        sent = event.parse(body.decode("utf-8", "replace"))
    except BodyError as error:
        return answers.error(error.status, tenant, error.message)
    if problems := event.violations(sent, tenant, state.clock.now_ms(), state.window):
        return answers.errors(400, problems)
    return Ready(tenant=tenant, sent_to=found[1], event=sent)


def store(state: State, ready: Ready, status: int | None, copies: int = 1) -> Answer:
    """Hand it to Elasticsearch; `status` is what the client will be told if it is taken."""
    try:
        document = elasticsearch.render(state.mode, ready.tenant, ready.event)
        taken = elasticsearch.index(document, state.index, doubles=state.doubles)
    except AddressError as error:
        return answers.error(500, ready.tenant, f"Error: {error}")
    except UnstoredError as error:
        return unstored(state, ready, error.status, error.said, error.reason)
    state.ledger.store(taken, ready.sent_to, status, copies)
    return Answer(200)


def unstored(state: State, ready: Ready, status: int, said: str, reason: str) -> Answer:
    """Elasticsearch did not take it."""
    answer = answers.storage(state.build, ready.tenant, status, said)
    state.ledger.lose(ready.tenant, reason, answer.status, ready.event.what)
    return answer


def media(method: str, headers: Mapping[str, str]) -> Answer | None:
    """415, before the route is looked at, so that no tenant is named but one the client sent."""
    kind, accept = headers.get("Content-Type", ""), headers.get("Accept", "")
    if method == "POST" and kind and "application/json" not in kind.lower():
        return answers.error(415, headers.get("tenantId", ""), f"Unsupported media type for Content-Type: {kind}")
    if method in _VERBS and accept and not any(each in accept.lower() for each in ("*/*", "application/json")):
        return answers.error(415, headers.get("tenantId", ""), f"Unsupported media type for Accept: {accept}")
    return None


def tenant_of(headers: Mapping[str, str], path: str) -> str:
    """The router adds the path's tenant as a header; the handler takes the first of that name."""
    return headers.get("tenantId", path)


def _health(method: str, path: str) -> Answer:
    if path not in ("/v1.0", "/v2.0"):
        return Answer(404)
    return Answer(200) if method == "GET" else Answer(405, headers={"Allow": "GET"})
