"""The bare HTTP of the stand-in: bodies, whole and half answers, resets."""

from __future__ import annotations

import email.utils
import socket
import struct
import zlib

from aiohttp import web

from agent.sandbox.ncloud.answers import Answer
from agent.sandbox.ncloud.ledger import Request
from agent.sandbox.ncloud.state import State


async def read(request: web.BaseRequest, limit: int) -> tuple[bytes, int, int]:
    """The body, no more than a little above the limit; its size as far as read, and its crc."""
    kept, size, crc = bytearray(), 0, 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        kept += chunk
        if size > limit:
            break
    return bytes(kept), size, crc


def headers(state: State, entry: Request, answer: Answer) -> dict[str, str]:
    """Those of an answer; the clock in them is the far side's."""
    said = {"Content-Type": answer.content_type, "x-ncp-trace-id": entry.trace, **answer.headers}
    if state.settings.sends_date:
        said["Date"] = email.utils.formatdate(state.now_ms() / 1000, usegmt=True)
    return said


def response(state: State, entry: Request, answer: Answer) -> web.Response:
    """An answer as a whole."""
    whole = _Response(status=answer.status, body=answer.body, headers=headers(state, entry, answer))
    whole.dated = state.settings.sends_date
    return whole


class _Response(web.Response):
    """An answer that may go without a Date."""

    dated = True

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        if not self.dated:
            self.headers.popall("Date", None)


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST instead of a FIN."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def half(request: web.BaseRequest, answer: Answer, said: dict[str, str]) -> web.StreamResponse:
    """The first half of an answer, then the end of the connection."""
    begun = web.StreamResponse(status=answer.status, headers=said)
    begun.content_length = len(answer.body)
    await begun.prepare(request)
    await begun.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return begun
