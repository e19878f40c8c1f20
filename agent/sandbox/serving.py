"""The HTTP that the stand-ins share: a port to listen on, bodies within a bound, answers that do not come whole."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter


@asynccontextmanager
async def listening(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    host: str,
    port: int,
    closing: asyncio.Event,
    *,
    ssl_context: ssl.SSLContext | None = None,
    keep_alive: float,
) -> AsyncIterator[str]:
    """Serve on a port (0: any) until left, and give its address. `closing` is set first, so that `hang` lets go."""
    server = web.Server(handler, auto_decompress=False, keepalive_timeout=keep_alive, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
        scheme, name = ("https" if ssl_context else "http"), (f"[{host}]" if ":" in host else host)
        yield f"{scheme}://{name}:{runner.addresses[0][1]}"
    finally:
        closing.set()
        await runner.cleanup()


class Bare(web.Response):
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


def waits(request: web.BaseRequest) -> bool:
    """Whether the client wants to be told before it sends its body."""
    return request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None


def go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits to send its body."""
    if waits(request) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read(request: web.BaseRequest, limit: int, *, whole: bool = True) -> tuple[bytes, int, int]:
    """
    The body (cut off a byte beyond the limit), its size and its crc.

    Unless `whole`, what comes after the limit is not waited for, and the size is that of what came.
    """
    kept, size, crc = bytearray(), 0, 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        crc = zlib.crc32(chunk, crc)
        kept += chunk[: limit + 1 - len(kept)]
        if size > limit and not whole:
            break
    return bytes(kept), size, crc


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """Cut the connection with a RST instead of a FIN."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return Silence()


async def hang(request: web.BaseRequest, closing: asyncio.Event) -> web.StreamResponse:
    """No answer, and the connection is kept busy, until the client goes or the stand-in closes."""
    # Nothing tells a handler of aiohttp that its client has gone, so it looks; a closing sandbox lets go at once.
    while request.transport is not None and not request.transport.is_closing() and not closing.is_set():
        try:
            await asyncio.wait_for(closing.wait(), 0.2)
        except TimeoutError:
            continue
    return reset(request)


async def half(
    request: web.BaseRequest, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """The first half of an answer, then the end of the connection."""
    begun = web.StreamResponse(status=status, headers=headers)
    begun.content_length = len(body)
    await begun.prepare(request)
    await begun.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return Silence()
