"""What the far side says: its envelope, in its key order, with its codes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

DATA_IN = "api.data.in"
CODES = {
    200: "OK",
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    500: "INTERNAL_SERVER_ERROR",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, ready to send."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


def _envelope(api: str, status: int, msgid: str | None, resmsgid: str, code: str, rest: Mapping[str, Any]) -> Answer:
    params: dict[str, str] = {"status": "SUCCESS" if status == 200 else "FAILED"}
    if msgid:
        params["msgid"] = msgid
    params["resmsgid"] = resmsgid
    ts = datetime.now(UTC).isoformat(timespec="seconds")
    body = {"id": api, "ver": "v2", "ts": ts, "params": params, "responseCode": code, **rest}
    return Answer(status, json.dumps(body, separators=(",", ":")).encode())


def success(api: str, msgid: str | None, result: object) -> Answer:
    """200 with a result."""
    return _envelope(api, 200, msgid, str(uuid.uuid4()), "OK", {"result": result})


def failure(status: int, code: str | int, message: str, msgid: str | None, *, api: str = DATA_IN) -> Answer:
    """An error found by the route itself."""
    rest = {"result": {}, "error": {"code": code, "message": message}}
    return _envelope(api, status, msgid, str(uuid.uuid4()), CODES[status], rest)


def denied(status: int, code: str, message: str, msgid: str | None, *, api: str = DATA_IN) -> Answer:
    """401 and 403: no result, an empty trace."""
    rest = {"error": {"code": code, "message": message, "trace": ""}}
    return _envelope(api, status, msgid, str(uuid.uuid4()), CODES[status], rest)


def unreadable(message: str) -> Answer:
    """The body could not be read: 500 from before the route."""
    rest = {"error": {"code": "INTERNAL_SERVER_ERROR", "message": message, "trace": ""}}
    return _envelope("api", 500, None, "", CODES[500], rest)


def undecodable(parameter: str, msgid: str | None) -> Answer:
    """A bad percent-escape in the path."""
    error = {"code": "INTERNAL_SERVER_ERROR", "message": f"Failed to decode param '{parameter}'"}
    return _envelope("api", 400, msgid, "", CODES[500], {"result": {}, "error": error})


def no_route(msgid: str | None) -> Answer:
    """Wrong URL or method."""
    error = {"code": "ROUTE_NOT_FOUND", "message": "Route not found"}
    return _envelope("api", 404, msgid, "", CODES[404], {"result": "", "error": error})


def gone() -> Answer:
    """The v1 paths."""
    text = "v1 APIs have been replace by /v2 APIs. Please refer to this link <addLink> for more information"
    now = int(datetime.now(UTC).timestamp() * 1000)
    body = {"ver": "v1", "ts": now, "params": {"status": "FAILED", "errmsg": text}, "responseCode": "GONE"}
    return Answer(410, json.dumps(body, separators=(",", ":")).encode())
