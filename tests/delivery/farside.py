"""The far side, scripted: a real HTTP server on a real socket, and a ten-line sink that posts to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from agent.errors import AuthExpired, Rejected, Retryable, Throttled, TooLarge
from agent.ports import Limits, Parcel, Send
from agent.record import Run


@dataclass
class Request:
    id: str
    body: bytes
    at: float  # the loop's time
    numbers: list[int]  # field n of each record


@dataclass
class Reply:
    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    stores: bool | None = None  # None: when the status is 200
    then: str = "answer"  # or "reset", "hang"


Script = Callable[[Request], Reply]


def accept(request: Request) -> Reply:
    return Reply()


def refuse(*bad: int) -> Script:
    """400 for every batch that holds one of these."""
    return lambda request: Reply(400, "bad record") if set(bad) & set(request.numbers) else Reply()


class FarSide:
    """What arrived, what was stored, and a script that decides."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.stored: list[int] = []
        self.batches: dict[str, bytes] = {}  # what was stored under which id
        self.port = 0
        self.open_now = self.most_open = 0
        self.gate: asyncio.Event | None = None  # while not set, answers wait

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers["Content-Length"]))
            await self.answer(headers["X-Id"], body, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, id: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        records: list[dict[str, Any]] = json.loads(body)
        numbers = [record["fields"]["n"] for record in records]
        request = Request(id, body, asyncio.get_running_loop().time(), numbers)
        self.requests.append(request)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            reply = self.script(request)
            if reply.stores if reply.stores is not None else reply.status == 200:
                assert self.batches.setdefault(id, body) == body, "one id, two contents"
                self.stored += numbers
            if reply.then == "reset":
                writer.transport.abort()
                return
            if reply.then == "hang":
                await asyncio.Event().wait()
            lines = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(reply.body)}"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            writer.write("\r\n".join([*lines, "", reply.body]).encode())
            await writer.drain()
        finally:
            self.open_now -= 1


@asynccontextmanager
async def far_side(script: Script = accept) -> AsyncIterator[FarSide]:
    far = FarSide(script)
    running: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.get_running_loop().create_task(far.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    far.port = server.sockets[0].getsockname()[1]
    try:
        yield far
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass(frozen=True)
class Post:
    """The sink: a POST for each batch."""

    kind: ClassVar[str] = "post"
    port: int
    limits: Limits = field(default_factory=Limits)
    timeout: float = 20.0

    def encode(self, run: Run) -> bytes:
        return b"[%b]" % run.body

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return data

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        yield self.send

    async def send(self, parcel: Parcel) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                status, headers, answer = await self.exchange(parcel)
        except ConnectionRefusedError as error:
            raise Retryable("connection refused") from error
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise Retryable(f"no answer: {error!r}", ambiguous=True) from error
        match status:
            case 200:
                return
            case 400:
                only = headers.get("only")
                named = frozenset(map(int, only.split(","))) if only else None
                raise Rejected("refused", status=400, answer=answer, only=named)
            case 401:
                raise AuthExpired("who are you?", status=401)
            case 404:
                raise Retryable("no such dataset", status=404, operator=True)
            case 413:
                raise TooLarge("too large", status=413)
            case 429:
                raise Throttled("slow down", retry_after=float(headers["retry-after"]), status=429)
            case 503:
                raise Retryable("not now", status=503)
        raise Retryable("it broke", status=status, answer=answer, ambiguous=True)

    async def exchange(self, parcel: Parcel) -> tuple[int, dict[str, str], str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = f"POST / HTTP/1.1\r\nX-Id: {parcel.id}\r\nContent-Length: {len(parcel.body)}\r\n\r\n"
            writer.write(head.encode() + parcel.body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            answer = await reader.readexactly(int(headers["content-length"]))
            return int(lines[0].split()[1]), headers, answer.decode()
        finally:
            writer.transport.abort()
