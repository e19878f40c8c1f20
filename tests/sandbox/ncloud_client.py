"""
A client for the tests of the gateway's stand-in: bytes on a socket and a signature of its own.

Nothing of the agent and nothing of the stand-in stands in it, so that neither can agree with itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

KEY, SECRET = "AK_TEST", "SK_TEST"
SEND = "/cw_collector/real/data"
QUERY = "/cw_fea/real/cw/api/data/query"
SCHEMA = "/cw_fea/real/cw/api/schema"
CW_KEY = "460438474722512897"
ROW: dict[str, Any] = {
    "cw_key": CW_KEY,
    "prodName": "Custom/Agent",
    "fields": [
        {"name": "host", "dataType": "STRING", "dimension": True, "idDimension": True, "desc": ""},
        {"name": "mount", "dataType": "STRING", "dimension": True},
        {"name": "cpu", "dataType": "FLOAT", "metric": True, "aggregations": {"Min1": ["AVG", "MAX"], "Min5": ["AVG"]}},
        {"name": "count", "dataType": "INTEGER", "metric": True},
        {"name": "bytes", "dataType": "LONG", "metric": True},
        {"name": "state", "dataType": "STRING", "metric": True},
    ],
}


@dataclass(frozen=True)
class Said:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.value["error"]["errorCode"])

    @property
    def details(self) -> str:
        return str(self.value["error"]["details"])


def sign(text: bytes, secret: bytes = SECRET.encode()) -> str:
    """HMAC-SHA256 by its definition (RFC 2104), in base64."""
    block = secret.ljust(64, b"\0") if len(secret) <= 64 else hashlib.sha256(secret).digest().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + text).digest()
    return base64.b64encode(hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()).decode()


def signed(
    method: str, target: bytes, *, ahead: float = 0.0, key: str = KEY, secret: str = SECRET, timestamp: str = ""
) -> dict[str, str]:
    """The three headers; `ahead`: seconds that this client's clock is."""
    stamp = timestamp or str(int((time.time() + ahead) * 1000))
    text = b"%s %s\n%s\n%s" % (method.encode(), target, stamp.encode(), key.encode())
    return {
        "x-ncp-apigw-timestamp": stamp,
        "x-ncp-iam-access-key": key,
        "x-ncp-apigw-signature-v2": sign(text, secret.encode()),
    }


def exchange(
    port: int,
    method: str,
    target: bytes | str,
    headers: list[tuple[str, str]] | dict[str, str],
    body: bytes = b"",
    *,
    host: str = "127.0.0.1",
    context: ssl.SSLContext | None = None,
    timeout: float = 10.0,
    measured: bool = True,
) -> Said:
    """One request, written byte by byte; not `measured`: without a Content-Length."""
    if isinstance(target, str):
        target = target.encode()
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: sandbox", b"Connection: close"]
    lines += [f"{name}: {value}".encode() for name, value in pairs]
    if body and measured:
        lines.append(b"Content-Length: %d" % len(body))
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(socket.create_connection((host, port), timeout=timeout))
        if context:
            connection = opened.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        answer = opened.enter_context(http.client.HTTPResponse(connection, method=method))
        answer.begin()
        return Said(answer.status, dict(answer.getheaders()), answer.read())


def call(port: int, method: str, target: str, value: object = None, **how: Any) -> Said:
    """One request rightly signed, with a JSON body where there is a value."""
    keys = {name: how.pop(name) for name in ("ahead", "key", "secret") if name in how}
    headers = {**signed(method, target.encode(), **keys), "Accept": "application/json", **how.pop("headers", {})}
    body = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
    if body:
        headers.setdefault("Content-Type", "application/json")
    return exchange(port, method, target, headers, body, **how)


def send(port: int, *records: dict[str, Any], cw_key: str = CW_KEY, **how: Any) -> Said:
    """SendData in its array form."""
    return call(port, "POST", SEND, {"cw_key": cw_key, "data": list(records)}, **how)
