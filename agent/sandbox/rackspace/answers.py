"""
What the far side says: Blueflood's error lists, the proxy's and Identity's one-key faults.

Sources: Blueflood 6557fd4f (DefaultHandler, ErrorResponse, ElasticsearchRestHelper), docs.rackspace.com "metrics
response codes" and "limits", rackerlabs/docs-cloud-identity (faults). What the hosted proxy says besides its status is
documented nowhere; Repose's and Keystone's usual words stand in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Build = Literal["2022-09", "2018-04", "2018-01"]
# What Elasticsearch's connection was worth: its own status, or none at all.
UNREACHABLE = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ready to send. Without a content type, no such header is sent: Blueflood has none."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One entry of Blueflood's error list."""

    tenant: str
    message: str
    source: str | None = None
    timestamp: int | None = None


def errors(status: int, problems: Sequence[Problem]) -> Answer:
    """Blueflood's error list."""
    entries = [
        {
            "tenantId": problem.tenant,
            "timestamp": problem.timestamp,
            "metricName": "",
            "source": problem.source,
            "message": problem.message,
        }
        for problem in problems
    ]
    return Answer(status, dumps({"errors": entries}))


def error(status: int, tenant: str, message: str) -> Answer:
    """The list with one entry that blames no field."""
    return errors(status, [Problem(tenant=tenant, message=message)])


def storage(build: Build, tenant: str, status: int, said: str) -> Answer:
    """
    Elasticsearch did not take it, and how that is told, which changed twice.

    Since 2022-09 its own words are passed on, since 2018-04 its status alone; before, nobody looked.
    """
    match build:
        case "2022-09" if status == UNREACHABLE:
            return error(500, tenant, "Error: Unable to reach Elasticsearch")
        case "2022-09":
            return error(500, tenant, f"Error: Elasticsearch request failed: {said}")
        case "2018-04":
            return error(500, tenant, f"Error: Elasticsearch indexing failed with status code: [{status}]")
        case "2018-01":
            return Answer(200)


def fault(status: int, name: str, message: str, headers: Mapping[str, str] | None = None, **more: str) -> Answer:
    """A fault of Keystone's kind: one key, with the status once more."""
    body = {name: {"code": status, "message": message, **more}}
    return Answer(status, dumps(body), "application/json", headers or {})


def over_limit(status: int, retry_after: str | None, at: str) -> Answer:
    """Repose's rate limit; `at` is the time it ends."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return fault(status, "overLimit", "OverLimit Retry...", headers, details="Error Details...", retryAfter=at)


def page(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """A gateway's own page."""
    return Answer(status, f"<html><body><h1>{status}</h1></body></html>".encode(), "text/html", headers or {})


def dumps(value: object) -> bytes:
    """JSON as the far side writes it: no white space, no escapes but the needed; a lone surrogate becomes `?`."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
