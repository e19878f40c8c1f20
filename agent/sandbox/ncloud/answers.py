"""What the far side says: results, and errors in every shape that the gateway and its services were seen to use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from agent.sandbox.faults import Fault
from agent.sandbox.ncloud.settings import Settings

# "Ncloud API error handling" (legacy API) and, for 230, the API Gateway page's own table: code -> status and message.
ERRORS: Mapping[str, tuple[int, str]] = {
    "100": (400, "Bad Request Exception"),
    "200": (401, "Authentication Failed"),
    "210": (401, "Permission Denied"),
    "230": (403, "Forbidden"),
    "300": (404, "Not Found Exception"),
    "400": (429, "Quota Exceeded"),
    "410": (429, "Throttle Limited"),
    "420": (429, "Rate Limited"),
    "430": (413, "Request Entity Too Large"),
    "500": (503, "Endpoint Error"),
    "510": (504, "Endpoint Timeout"),
    "900": (500, "Unexpected Error"),
}
MISSING = "Authentication information are missing."  # its own words
INVALID = "Invalid authentication information."
JSON_TYPE = "application/json;charset=UTF-8"


class RefusedError(Exception):
    """The request ends here with an error of the gateway's table."""

    def __init__(self, code: str, details: str, *, retry_after: str | None = None) -> None:
        super().__init__(f"{code} {details}")
        self.code, self.details, self.retry_after = code, details, retry_after
        self.status, self.message = ERRORS[code]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, ready to send."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    result: str | None = None  # SendData's, for the books
    stored: bool = False  # whether it changed anything there


def value(content: object, *, status: int = 200, stored: bool = False) -> Answer:
    """A JSON value; 200 unless told."""
    return Answer(status=status, body=_compact(content), stored=stored)


def sent(result: str, message: str = "", *, stored: bool = False) -> Answer:
    """SendData's answer, as in the page's sample."""
    content = {"result": result, "dataId": -1, "message": message}
    return Answer(body=_compact(content), result=result, stored=stored)


def refused(error: RefusedError, settings: Settings, *, accept: str = "") -> Answer:
    """An error of the gateway's table, in the shape that is set."""
    headers = {} if error.retry_after is None else {"Retry-After": error.retry_after}
    return failure(error.status, error.code, error.message, error.details, settings, accept=accept, headers=headers)


def failure(
    status: int,
    code: str | int,
    message: str,
    details: str,
    settings: Settings,
    *,
    accept: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An error in the shape that is set."""
    shape = settings.shape
    if settings.xml_unless_asked and "application/json" not in accept:
        shape = "xml"
    body, kind = _shaped(shape, status, code, message, details)
    return Answer(status=status, body=body, content_type=settings.error_type or kind, headers=headers or {})


def problem(status: int, kind: str, detail: str, path: str, settings: Settings) -> Answer:
    """
    An error of Data Flow itself, which is no error of the gateway's table; `kind` is its errorType.

    The overview of 2023 has a problem document and an example, whose order of fields this is; the newer ones describe
    the fields of the gateway's errors.
    """
    if settings.flow_errors == "error":
        return Answer(status=status, body=_compact({"error": {"errorCode": kind, "message": detail, "details": ""}}))
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": f"/dataflow/api{path.removeprefix('/api/v1')}",
        "errorType": kind,
    }
    return Answer(status=status, body=_compact(content), content_type="application/problem+json")


def struck(fault: Fault, settings: Settings, accept: str, path: str) -> Answer:
    """What is answered by a fault that answers."""
    headers = fault.headers
    if fault.gateway:
        return Answer(status=fault.status, body=fault.page, content_type="text/html", headers=headers)
    if fault.name == "result":
        return sent(str(fault.code), fault.message)
    if fault.name == "problem":
        return problem(fault.status, str(fault.code), fault.message, path, settings)
    if fault.name == "unconfirmed":
        return Answer(status=fault.status, body=fault.message.encode(), headers=headers)
    details = fault.message
    message = ERRORS.get(str(fault.code), (0, fault.message))[1]
    return failure(fault.status, fault.code, message, details, settings, accept=accept, headers=headers)


def _shaped(shape: str, status: int, code: str | int, message: str, details: str) -> tuple[bytes, str]:
    if shape == "empty":
        return b"", JSON_TYPE
    if shape == "html":
        return f"<html><body><h1>{status}</h1><p>{message}</p></body></html>".encode(), "text/html;charset=UTF-8"
    if shape == "xml":
        text = f"<returnCode>{code}</returnCode><returnMessage>{message}</returnMessage>"
        return f'<?xml version="1.0"?><responseError>{text}</responseError>'.encode(), "application/xml;charset=UTF-8"
    return _compact(_content(shape, status, code, message, details)), JSON_TYPE


def _compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _content(shape: str, status: int, code: str | int, message: str, details: str) -> dict[str, Any]:
    number = int(code) if str(code).isdigit() else code
    match shape:
        case "number":
            return {"error": {"errorCode": number, "message": message, "details": details}}
        case "status":
            return {"error": {"errorCode": status, "message": message, "details": details}}
        case "no_details":
            return {"error": {"errorCode": str(code), "message": message}}
        case "responseError":
            return {"responseError": {"returnCode": str(code), "returnMessage": message}}
        case "spring":
            reason = HTTPStatus(status).phrase.upper().replace(" ", "_")
            return {"timestamp": datetime.now(UTC).isoformat(), "status": status, "error": reason, "message": message}
        case "top":
            return {"errorCode": str(code), "message": message}
        case "code":
            return {"code": str(code), "msg": message}
        case "problem":
            title = HTTPStatus(status).phrase
            return {"type": "about:blank", "title": title, "status": status, "detail": details, "errorType": message}
        case _:
            return {"error": {"errorCode": str(code), "message": message, "details": details}}
