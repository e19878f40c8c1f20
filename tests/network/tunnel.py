"""A proxy that opens tunnels (CONNECT), asks for a login if wanted, and keeps a list of where it was asked to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Tunnels:
    """What the proxy was asked for."""

    url: str = ""
    asked: list[str] = field(default_factory=list)  # request lines
    logins: list[str] = field(default_factory=list)  # Proxy-Authorization of each, "" where there was none


@asynccontextmanager
async def proxy(
    *, login: str = "", host: str = "127.0.0.1", leads_to: tuple[str, int] | None = None
) -> AsyncIterator[Tunnels]:
    """
    A running proxy. `login`: what Proxy-Authorization must be; `leads_to`: where every tunnel ends,
    whatever name was asked for, as behind a proxy that alone can resolve names.
    """
    seen = Tunnels()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            given = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            seen.asked.append(head[0])
            seen.logins.append(given.get("proxy-authorization", ""))
            if login and given.get("proxy-authorization") != login:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            name, _, port = head[0].split(" ")[1].rpartition(":")
            there = leads_to or (name.strip("[]"), int(port))
            far_reader, far_writer = await asyncio.open_connection(*there)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(reader, far_writer))
                    both.create_task(_pump(far_reader, writer))
            finally:
                far_writer.close()
        except (OSError, asyncio.IncompleteReadError, ExceptionGroup):
            pass  # one of the two has gone
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    name, port = server.sockets[0].getsockname()[:2]
    seen.url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
