"""
The bare HTTP of the stand-in: compressed bodies, answers without a type, no answer at all, half of one, resets.

Sources: Blueflood 6557fd4f over Netty 4.0 (HttpContentDecompressor, HttpObjectAggregator), as observed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from agent.sandbox.rackspace.answers import Answer

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15, "x-deflate": 15}
_SHORTEST = 10  # the length of gzip's header: as long as it is not whole, nothing is found wrong


class SilenceError(Exception):
    """Nobody answers; the connection stays as it was."""


class _Bare(web.Response):
    """A response that gets no Content-Type and no Date that it was not given."""

    async def _prepare_headers(self) -> None:
        absent = [name for name in ("Content-Type", "Date") if name not in self.headers]
        await super()._prepare_headers()
        for name in absent:
            self.headers.popall(name, None)


class Silence(web.Response):
    """No answer: the next request on the connection is served."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def read(request: web.BaseRequest, limit: int) -> tuple[bytes, int]:
    """The body (cut off beyond the limit) and its whole size."""
    kept, size = bytearray(), 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        kept += chunk[: limit + 1 - len(kept)]
    return bytes(kept), size


def inflate(raw: bytes, encoding: str, limit: int) -> bytes:
    """
    The decompressed body; raises SilenceError beyond the limit, and where the compression is broken.

    An unknown coding is left as it is. What is too short to be wrong gives nothing.
    """
    window = _WINDOWS.get(encoding.strip().lower())
    if window is None or not raw:
        plain = raw
    elif window == 31 and len(raw) < _SHORTEST:
        plain = b""
    else:
        wrapped = len(raw) > 1 and raw[0] & 15 == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
        stream = zlib.decompressobj(window if window == 31 or wrapped else -15)
        try:
            plain = stream.decompress(raw, limit + 1)
        except zlib.error:
            raise SilenceError("corrupt body") from None
    if len(plain) > limit:
        raise SilenceError("too large")
    return plain


def response(answer: Answer, date: str | None, *, close: bool = False) -> web.Response:
    """An answer as a whole."""
    headers = dict(answer.headers) if date is None else {"Date": date, **answer.headers}
    if answer.content_type is not None:
        headers["Content-Type"] = answer.content_type
    whole = _Bare(status=answer.status, body=answer.body, headers=headers)
    if close:
        whole.force_close()
    return whole


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST instead of a FIN."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The first half of an answer, then the end of the connection; of an empty one, not even a status."""
    if request.transport is None:
        return web.Response()
    if not answer.body:
        request.transport.write(b"HTTP/1.")
    else:
        part = web.StreamResponse(status=answer.status)
        part.content_length = len(answer.body)
        await part.prepare(request)
        await part.write(answer.body[: len(answer.body) // 2])
    request.transport.close()
    return Silence()


async def hang(request: web.BaseRequest, closing: asyncio.Event) -> web.StreamResponse:
    """No answer, and the connection is kept busy, until the client goes or the stand-in closes."""
    # Nothing tells a handler of aiohttp that its client has gone, so it looks.
    while request.transport is not None and not request.transport.is_closing() and not closing.is_set():
        try:
            await asyncio.wait_for(closing.wait(), 0.2)
        except TimeoutError:
            continue
    reset(request)
    return Silence()
