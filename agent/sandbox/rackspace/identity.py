"""
Rackspace Identity v2.0: a key for a token and a catalogue, and a token's end.

Source: rackerlabs/docs-cloud-identity 1ca4c589 (authenticate, revoke, faults); the two metrics services of the
catalogue share their type, as in a Rackspace docs template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from agent.sandbox.rackspace import answers
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.rackspace.clock import iso
from agent.sandbox.rackspace.state import State
from agent.sandbox.rackspace.tokens import CredentialsError, DisabledError, Token

_KEY = "RAX-KSKEY:apiKeyCredentials"


def answer(state: State, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """What Identity says."""
    parts = path.split("/")
    match method, parts:
        case "POST", ["", "v2.0", "tokens"]:
            if "application/json" not in headers.get("Content-Type", "").lower():
                return answers.fault(415, "unsupportedMediaType", "Unsupported media type")
            return _authenticate(state, body, parse_qs(query))
        case "DELETE", ["", "v2.0", "tokens"]:
            return _revoke(state, headers, headers.get("X-Auth-Token", ""))
        case "DELETE", ["", "v2.0", "tokens", name] if name:
            return _revoke(state, headers, name)
        case _, ["", "v2.0", "tokens", *rest] if len(rest) < 2:
            return answers.fault(405, "badMethod", "Method Not Allowed", {"Allow": "DELETE" if rest else "POST,DELETE"})
        case _:
            return answers.fault(404, "itemNotFound", "Resource Not Found")


def _authenticate(state: State, body: bytes, query: Mapping[str, list[str]]) -> Answer:
    try:
        value = json.loads(body)
        auth = value["auth"]
        key = auth[_KEY]
        username, api_key = key["username"], key["apiKey"]
        tenants = [auth[name] for name in ("tenantId", "tenantName") if name in auth]
    except (ValueError, TypeError, KeyError):
        return _bad("Invalid request body: unable to parse Auth data. Please review XML or JSON formatting.")
    if not all(isinstance(text, str) and text for text in (username, api_key, *tenants)):
        return _bad("Expecting username and apiKey")
    if len(tenants) > 1:
        return _bad("Invalid request. Specify tenantId OR tenantName, not both.")
    try:
        token, again = state.tokens.authenticate(username, api_key, tenants[0] if tenants else None)
    except CredentialsError as error:
        return answers.fault(401, "unauthorized", str(error))
    except DisabledError as error:
        return answers.fault(403, "userDisabled", str(error))
    state.ledger.issue(username, token.tenant, token.expires, again=again)
    with_endpoints = query.get("include_endpoints", ["true"])[0].lower() != "false"
    return Answer(200, answers.dumps(_access(state, token, with_endpoints=with_endpoints)), "application/json")


def _access(state: State, token: Token, *, with_endpoints: bool) -> dict[str, Any]:
    catalogue = [
        _service("cloudFiles", "object-store", f"https://storage.invalid/v1/MossoCloudFS_{token.tenant}", token, "ORD"),
        _service("cloudMetrics", "rax:cloudmetrics", f"{state.urls['query']}/v2.0/{token.tenant}", token, "IAD"),
        _service("cloudMetricsIngest", "rax:cloudmetrics", f"{state.urls['ingest']}/v2.0/{token.tenant}", token, "IAD"),
    ]
    return {
        "access": {
            "serviceCatalog": catalogue if with_endpoints else [],
            "token": {
                "id": token.id,
                "expires": iso(token.expires, numeric=state.expires_form == "offset"),
                "tenant": {"id": token.tenant, "name": token.tenant},
                "RAX-AUTH:authenticatedBy": ["APIKEY"],
            },
            "user": {"id": "1001", "name": token.username, "RAX-AUTH:defaultRegion": "IAD", "roles": []},
        }
    }


def _service(name: str, kind: str, url: str, token: Token, region: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "endpoints": [{"region": region, "tenantId": token.tenant, "publicURL": url}]}


def _revoke(state: State, headers: Mapping[str, str], name: str) -> Answer:
    if state.tokens.find(headers.get("X-Auth-Token")) is None:
        return answers.fault(401, "unauthorized", "No valid token provided. Please use the 'X-Auth-Token'")
    if state.tokens.find(name) is None:
        return answers.fault(404, "itemNotFound", "Token not found.")
    state.tokens.revoke(name)
    return Answer(204)


def _bad(message: str) -> Answer:
    return answers.fault(400, "badRequest", message)
