"""
The HTTP of Netty: compressed bodies, answers without a type, no answer where something is wrong.

Sources: Blueflood 6557fd4f over Netty 4.0 (HttpContentDecompressor, HttpObjectAggregator), as observed.
"""

from __future__ import annotations

import zlib

from aiohttp import web

from agent.sandbox import serving
from agent.sandbox.rackspace.answers import Answer
from agent.sandbox.serving import Bare, Silence

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15, "x-deflate": 15}
_SHORTEST = 10  # the length of gzip's header: as long as it is not whole, nothing is found wrong


class SilenceError(Exception):
    """Nobody answers; the connection stays as it was."""


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
    whole = Bare(status=answer.status, body=answer.body, headers=headers)
    if close:
        whole.force_close()
    return whole


async def half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The first half of an answer, then the end of the connection; of an empty one, not even a status."""
    if request.transport is None:
        return Silence()
    if answer.body:
        return await serving.half(request, answer.status, answer.body)
    request.transport.write(b"HTTP/1.")
    request.transport.close()
    return Silence()
