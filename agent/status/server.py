"""
A GET-only HTTP server for loopback: pages made on request, nothing that changes anything.

One request a connection, bounded in size and time; anything unusual is refused. It is our own because
aiohttp.web took 2.4 MB beside aiohttp's client and 14.7 MB where no HTTP sink has loaded that; this
with all its pages took 0.6 and 1.0.

A page in a browser can make requests to loopback, even under a name of its own (DNS rebinding): so
the Host header must be a loopback one, or one that the operator named. Where the operator has it
listen beyond loopback, plain addresses are served as well: probes and scrapers use them, and only a
name can be rebound.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

import structlog

log = structlog.get_logger()

MAX_HEAD = 8 * 1024  # bytes of a request; a browser with many cookies for localhost sends up to some KB
MAX_CONNECTIONS = 32
SECONDS = 5.0  # for a request from first byte to last


class Answer(NamedTuple):
    """What goes back."""

    status: HTTPStatus
    type: str
    body: bytes
    extra: tuple[tuple[str, str], ...] = ()


Pages = Mapping[str, Callable[[], Answer]]


class Refused(Exception):  # noqa: N818 it is an answer, not an error of ours
    """A request that is not served."""

    def __init__(self, status: HTTPStatus, why: str, *extra: tuple[str, str]) -> None:
        super().__init__(why)
        self.answer = _plain(status, why, *extra)


@asynccontextmanager
async def serve(pages: Pages, host: str, port: int, *, names: Collection[str] = ()) -> AsyncIterator[int]:
    """
    Answer with `pages` on `host`:`port` (0: any) for as long as the block lasts; gives the port.

    `names`: Host headers that are served besides loopback's. Raises OSError where it cannot listen.
    """
    listener = _Listener(pages, frozenset(name.lower() for name in names), remote=not _is_loopback(host))
    server = await asyncio.start_server(listener.connected, host, port, limit=MAX_HEAD)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        tasks = list(listener.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True, eq=False)
class _Listener:
    pages: Pages
    names: frozenset[str]
    remote: bool  # listens beyond loopback
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)  # paths whose failure is already logged

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self.tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self.tasks.add(task)
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(await self.answer(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # the other side went away, or dawdled: its loss
        finally:
            writer.transport.abort()
            self.tasks.discard(task)

    async def answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long"))
        try:
            answer = self.page(wanted(head, self.names, addresses=self.remote))
        except Refused as refused:
            answer = refused.answer
        return _response(answer, with_body=not head.startswith(b"HEAD "))

    def page(self, path: str) -> Answer:
        make = self.pages.get(path)
        if make is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is only {' '.join(self.pages)}")
        try:
            answer = make()
        except Exception as bug:
            # Looking at the agent must not hurt it. Said once, as pages are polled.
            if path not in self.failed:
                self.failed.add(path)
                log.exception("a status page failed", path=path)
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug; the log has it") from bug
        self.failed.discard(path)
        return answer


def wanted(head: bytes, names: Collection[str], *, addresses: bool) -> str:
    """The path a request asks for, if it is one to serve. Raises Refused."""
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, target, "HTTP/1.1" | "HTTP/1.0"] if target.startswith("/"):
            path = target.partition("?")[0]
        case _:
            raise Refused(HTTPStatus.BAD_REQUEST, "not a request this server understands")
    hosts = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(HTTPStatus.BAD_REQUEST, "not a header line")
        if name.lower() == "host":
            hosts.append(value.strip().lower())
    if len(hosts) != 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "one Host header, please")
    host = _without_port(hosts[0])
    if not (_is_loopback(host) or host in names or (addresses and _address(host))):
        raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not served here")
    if method not in ("GET", "HEAD"):
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served", ("Allow", "GET, HEAD"))
    return path


def _without_port(host: str) -> str:
    if host.startswith("["):  # [::1]:8080
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _response(answer: Answer, *, with_body: bool = True) -> bytes:
    headers = (
        ("Content-Type", answer.type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
        *answer.extra,
    )
    head = f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    return head.encode("latin-1") + (answer.body if with_body else b"")


def _plain(status: HTTPStatus, text: str, *extra: tuple[str, str]) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode(), extra)
