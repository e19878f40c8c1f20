"""
The proxy in front of the hosted service: who comes in, and how often.

Sources: docs.rackspace.com "metrics limits" (1000 requests a minute and tenant, all verbs), "ingestion limits" (the
shape of GET /limits), "metrics response codes" (401). The window begins with the first request and what is over the
limit is not counted, as Repose has it; the status and the shape of an over-limit answer are Repose's defaults.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.rackspace import answers
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.clock import Clock, iso
from agent.sandbox.rackspace.tokens import Tokens

_OURS = re.compile(r"/v[0-9.]+/([^/]+)/.+")


@dataclass(slots=True)
class _Minute:
    began: float
    used: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Gate:
    """The proxy's rules; `identity` gives the address that a 401 names."""

    clock: Clock
    tokens: Tokens
    identity: Callable[[], str]
    rate: int = 1000
    minute: float = 60.0
    status: Literal[413, 429] = 413
    retry_after: Literal["seconds", "date"] = "seconds"
    _minutes: dict[str, _Minute] = field(default_factory=dict)

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> Answer | None:
        """An answer of the gate's own, or None where the service shall answer."""
        found = _OURS.fullmatch(path)
        tenant = found[1] if found else None
        if not self.tokens.good(headers.get("X-Auth-Token"), tenant):
            return self.unauthorized()
        if tenant is None:
            return None
        if method == "GET" and path == f"/v2.0/{tenant}/limits":
            return self._limits(tenant)
        minute = self._minute(tenant)
        if minute.used >= self.rate:
            return self._over(minute)
        minute.used += 1
        return None

    def unauthorized(self) -> Answer:
        """401, of no documented shape."""
        challenge = {"WWW-Authenticate": f"Keystone uri={self.identity()}"}
        return answers.fault(401, "unauthorized", "No valid token provided. Please use the 'X-Auth-Token'", challenge)

    def _minute(self, tenant: str) -> _Minute:
        now = self.clock.now()
        minute = self._minutes.get(tenant)
        if minute is None or not minute.began <= now < minute.began + self.minute:
            minute = self._minutes[tenant] = _Minute(now)
        return minute

    def _over(self, minute: _Minute) -> Answer:
        left = minute.began + self.minute - self.clock.now()
        header = str(math.ceil(left)) if self.retry_after == "seconds" else self.clock.date(math.ceil(left))
        return answers.over_limit(self.status, header, iso(minute.began + self.minute))

    def _limits(self, tenant: str) -> Answer:
        minute = self._minute(tenant)
        limit = {
            "verb": "ALL",
            "value": self.rate,
            "remaining": self.rate - minute.used,
            "unit": "MINUTE",
            "next-available": iso(self.clock.now() if minute.used < self.rate else minute.began + self.minute),
        }
        rate = {"uri": "/version/tenantId/*", "regex": "/v[0-9.]+/((hybrid:)?[0-9]+)/.+", "limit": [limit]}
        return Answer(200, answers.dumps({"limits": {"rate": [rate]}}), "application/json")
