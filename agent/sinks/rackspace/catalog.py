"""
What Rackspace Identity answers to a key: a token, how long it lasts, and where the tenant's services are.

Rackspace Identity v2.0, "authenticate" (rackerlabs/docs-cloud-identity). The two services of Metrics share their type,
so they are told apart by their names. Only the token itself is relied upon to be there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from agent.http import worded

INGEST, QUERY = "cloudMetricsIngest", "cloudMetrics"
# The only hosts that are documented (docs.rackspace.com, metrics-service-access-endpoints).
INGEST_URL = "https://global.metrics-ingest.api.rackspacecloud.com"
QUERY_URL = "https://global.metrics.api.rackspacecloud.com"
ASSUMED_LIFE = 3600.0  # seconds, where the answer does not tell

_TENANT = re.compile(r"/v2\.0/[^/]*/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A token and what came with it. URLs are without the path of the API."""

    token: str = field(repr=False)
    life: float  # seconds from when it was given
    ingest: str = INGEST_URL
    query: str = QUERY_URL


def access(body: bytes, now: float) -> Access:
    """Read an answer that came at that epoch second of Identity's clock. Raises ValueError where it has no token."""
    try:
        said = orjson.loads(body)["access"]
        token = said["token"]["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        raise ValueError("an answer without a token") from None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a token that no header can carry")
    found = _services(said.get("serviceCatalog"))
    return Access(
        token=token,
        life=_life(said["token"].get("expires"), now),
        ingest=found.get(INGEST, INGEST_URL),
        query=found.get(QUERY, QUERY_URL),
    )


def _life(expires: object, now: float) -> float:
    """Seconds until then; written with `Z` or with a numeric offset, and sometimes missing."""
    try:
        moment = datetime.fromisoformat(worded(expires))
        left = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return ASSUMED_LIFE
    return left if left > 0 else ASSUMED_LIFE


def _services(catalog: Any) -> dict[str, str]:
    """The first public URL of each service, by its name."""
    found: dict[str, str] = {}
    for service in catalog if isinstance(catalog, list) else []:
        if not isinstance(service, dict):
            continue
        endpoints = service.get("endpoints")
        for endpoint in endpoints if isinstance(endpoints, list) else []:
            url = endpoint.get("publicURL") if isinstance(endpoint, dict) else None
            if isinstance(url, str) and url.isascii():
                found.setdefault(worded(service.get("name")), _TENANT.sub("", url))
    return found
