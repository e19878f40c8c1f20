"""The bare HTTP of the stand-in: whole and half answers, faults, resets."""

from __future__ import annotations

import socket
import struct
import zlib

from aiohttp import web

from agent.sandbox.faults import Fault
from agent.sandbox.obsrv import answers
from agent.sandbox.obsrv.answers import Answer


async def read(request: web.BaseRequest, limit: int) -> tuple[bytes, int, int]:
    """The body (cut off beyond the limit), its whole size and its crc."""
    kept, size, crc = bytearray(), 0, 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        if size <= limit:
            kept += chunk
    return bytes(kept), size, crc


def response(answer: Answer) -> web.Response:
    """An answer as a whole."""
    headers = {"Content-Type": answer.content_type, "Keep-Alive": "timeout=5", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST instead of a FIN."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The first half of an answer, then the end of the connection."""
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def failure(fault: Fault, msgid: str) -> Answer:
    """What is answered by a fault that answers."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    if fault.gateway:
        page = f"<html><body><h1>{fault.status} Service Unavailable</h1></body></html>".encode()
        return Answer(fault.status, page, "text/html", headers)
    return answers.failure(fault.status, fault.code, fault.message, msgid or None)


def snappy_size(body: bytes) -> int:
    """About what snappy makes of it: matches without entropy coding, which zlib does with fixed codes."""
    stream = zlib.compressobj(1, zlib.DEFLATED, 15, 8, zlib.Z_FIXED)
    return len(stream.compress(body)) + len(stream.flush())
