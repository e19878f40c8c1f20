"""A client for the tests of the stand-in: plain http.client, so that nothing of the agent can agree with it."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any


def envelope(msgid: str, data: object) -> bytes:
    body = {"id": "api.data.in", "ver": "v2", "ts": "1711966306164", "params": {"msgid": msgid}, "data": data}
    return json.dumps(body).encode()


def call(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout: float = 10.0
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


async def put(port: int, msgid: str, data: object, dataset: str = "lake", timeout: float = 10.0) -> int:
    """POST one request; give the status."""
    path = f"/v2/data/in/{dataset}"
    status, _, _ = await asyncio.to_thread(call, port, "POST", path, envelope(msgid, data), None, timeout)
    return status


def answer_code(body: bytes) -> Any:
    return json.loads(body).get("error", {}).get("code")
