"""A client for the tests of the Rackspace stand-in: plain http.client, so that it agrees with nothing of the agent."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TENANT = "123456"
EVENTS = f"/v2.0/{TENANT}/events"


@dataclass(frozen=True)
class Reply:
    """status None: no answer within the timeout."""

    status: int | None
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def errors(self) -> list[dict[str, Any]]:
        return list(self.json["errors"])


def connect(url: str, timeout: float = 10.0, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)


def call(
    url: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 10.0,
    connection: http.client.HTTPConnection | None = None,
) -> Reply:
    """One request with exactly these headers (and Host and Content-Length)."""
    used = connection or connect(url, timeout)
    try:
        used.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            used.putheader(name, value)
        if body is not None:
            used.putheader("Content-Length", str(len(body)))
        used.endheaders(body)
        answer = used.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())
    except TimeoutError:
        return Reply(None, {}, b"")
    finally:
        if connection is None:
            used.close()


def event(what: str = "x", when: int | None = None, **more: object) -> bytes:
    stamp = int(time.time() * 1000) if when is None else when
    return json.dumps({"what": what, "when": stamp, **more}, ensure_ascii=False).encode()


def post(url: str, body: bytes | None = None, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """POST one event to the usual tenant."""
    return call(url, "POST", EVENTS, event() if body is None else body, headers, **more)


def sign_in(url: str, api_key: str = "key-of-the-sandbox", username: str = "agent", **auth: str) -> Reply:
    """Ask Identity for a token."""
    credentials = {"username": username, "apiKey": api_key}
    body = json.dumps({"auth": {"RAX-KSKEY:apiKeyCredentials": credentials, **auth}}).encode()
    return call(url, "POST", "/v2.0/tokens", body, {"Content-Type": "application/json"})


def token(url: str, **more: str) -> str:
    return str(sign_in(url, **more).json["access"]["token"]["id"])


def now_in(text: str, now_ms: int) -> str:
    """NOW, NOW+5 and NOW-5 in it become milliseconds."""
    return re.sub(r"NOW([+-]\d+)?", lambda found: str(now_ms + int(found[1] or 0)), text)


def raw(url: str, timeout: float = 5.0) -> socket.socket:
    """A bare connection."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=timeout)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """One answer from a bare connection: its status and body."""
    [answer] = read_answers(connection, 1)
    return answer


def read_answers(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """So many answers from a bare connection."""
    found: list[tuple[int, bytes]] = []
    with connection.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            headers = http.client.parse_headers(stream)
            found.append((status, stream.read(int(headers["Content-Length"]))))
    return found
