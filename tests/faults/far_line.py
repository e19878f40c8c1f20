"""The way to a far side: it can be cut, lead from another address, show another certificate; it notes its use."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit


class Line:
    """
    Carries bytes between whoever connects and a far side on this machine.

    It is laid at an address and, each time anew, on one port. With a certificate it speaks TLS outwards: to lay it
    again is what a far side does that is started again with another certificate.
    """

    def __init__(self, url: str) -> None:
        self.heard: list[float] = []  # when whoever is connected said something, by the monotonic clock
        self.port = 0
        self._far = urlsplit(url).port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()

    def lay(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        """From now on it leads there; what stood is cut."""
        self.cut()
        self._do(self._lay(host, tls))

    def cut(self) -> None:
        """Nobody listens there any more, and every connection ends with a reset."""
        self._do(self._cut())

    def close(self) -> None:
        """No longer."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _lay(self, host: str, tls: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(partial(self._serve, tls), host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for each in list(self._open):
            each.transport.abort()
        while self._open:
            await asyncio.sleep(0.001)

    async def _serve(
        self, tls: ssl.SSLContext | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)  # before the handshake: a cut ends those in the middle of one, too
        try:
            if tls is not None:
                await writer.start_tls(tls)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
            back = asyncio.ensure_future(self._carry(far_reader, writer, note=False))
            await self._carry(reader, far_writer, note=True)
            back.cancel()
            with suppress(asyncio.CancelledError):
                await back
        except OSError:
            pass  # the far side is gone: as if there were no line
        finally:
            writer.transport.abort()
            self._open.discard(writer)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, note: bool) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await source.read(65536):
                if note:
                    self.heard.append(time.monotonic())
                target.write(data)
                await target.drain()
        with suppress(OSError):
            target.close()


@contextmanager
def line(url: str) -> Iterator[Line]:
    """A line to that far side, laid at 127.0.0.1, until left."""
    made = Line(url)
    try:
        made.lay()
        yield made
    finally:
        made.close()
