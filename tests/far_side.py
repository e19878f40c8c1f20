"""A far side on a real socket that does to each request what its script says."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agent.record import Run, middle

T = TypeVar("T")


@dataclass
class Request:
    """What arrived."""

    line: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    connection: int

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


Act = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int = 200, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> Act:
    """Answer and keep the connection."""
    body = body.encode() if isinstance(body, str) else body

    async def act(writer: asyncio.StreamWriter) -> None:
        lines = {"Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)
        await writer.drain()

    return act


def said(status: int, **members: Any) -> Act:
    """Answer in JSON."""
    return answer(status, json.dumps(members), {"Content-Type": "application/json"})


def raw(data: bytes) -> Act:
    """Say this, whatever it is, and close."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return act


async def hang(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection with a RST."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class FarSide:
    """What the far side has seen, and what it does next; the last of the script is done for ever."""

    script: list[Act]
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        number = self.connections
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("latin-1").split("\r\n")[:-2]
                headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append(Request(line, headers, body, number))
                await (self.script.pop(0) if len(self.script) > 1 else self.script[0])(writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has gone
        finally:
            self.open_now -= 1
            writer.close()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    tls: ssl.SSLContext | None = None,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """A server on a port of its own, whose connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()

    server = await asyncio.start_server(accept, address, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports tell of their end in the next round of the loop


@asynccontextmanager
async def far_side(
    *script: Act,
    tls: ssl.SSLContext | None = None,
    host: str | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[FarSide]:
    """A far side with a script, listening at `address`, called `host` in its URL."""
    side = FarSide(list(script))
    name = host or (f"[{address}]" if ":" in address else address)
    async with listening(side.serve, tls, address=address, port=port) as port:
        side.url = f"{'https' if tls else 'http'}://{name}:{port}"
        yield side


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, never for longer than is sane."""

    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await main

    return asyncio.run(bounded())


def record(fields: bytes = b'{"v":1}', *, ts: int = 1700000000000, source: str = "mqtt.plant", **tags: str) -> bytes:
    """A record as intake renders it."""
    return b'{"ts":%d%b%b}' % (ts, middle(source, tags), fields)


def run_of(records: Sequence[bytes], *, segment: int = 0xA1B2C3D4E5F60718, first: int = 40) -> Run:
    """Records as they are read from the spool."""
    return Run(
        segment_id=segment,
        first=first,
        body=b",".join(records),
        lengths=array("I", map(len, records)),
        oldest_ms=1700000000000,
        newest_ms=1700000000500,
    )
