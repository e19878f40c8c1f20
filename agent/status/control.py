r"""
The control socket: what changes something in a running agent is asked for here, by its own user or root.

    {"do": "replay", ...}\n          one request a connection, a JSON object on a line
    {"progress": ...}\n              any number of lines while it is worked on, one every few seconds at least
    {"done": ...}\n                  the end: or {"error": "why", "exit": 75}

It is a file in the state directory that nobody else may enter. A client that hangs, dawdles, talks nonsense
or dies costs one of a few connections for a few seconds; what was being done for it is given up.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog

log = structlog.get_logger()

NAME = "control.sock"
MAX_REQUEST = 64 * 1024
MAX_CONNECTIONS = 4
MOST_READS = 64  # of what a client sends that has given its order
REQUEST_SECONDS = 5.0
WRITE_SECONDS = 10.0
SIGN_OF_LIFE_SECONDS = 5.0
LONGEST_ADDRESS = 107  # bytes of a path in sun_path, which ends with a zero
_CREDENTIALS = struct.Struct("3i")  # process, user, group

Say = Callable[[Mapping[str, Any]], Awaitable[None]]
Order = Callable[[Mapping[str, Any], Say], Awaitable[Mapping[str, Any]]]  # gives what is said as done


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """An order is not carried out, or not to its end. `code` is what the command that gave it is to exit with."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """The socket's address, as short as it has to be, for as long as the block lasts. Raises OSError."""
    plain = str(directory / NAME)
    if len(os.fsencode(plain)) <= LONGEST_ADDRESS:
        yield plain
        return
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


@asynccontextmanager
async def serve(directory: Path, orders: Mapping[str, Order]) -> AsyncIterator[None]:
    """
    Take orders at the socket in `directory` for as long as the block lasts.

    The caller holds the directory's lock: a socket that is there was left by an agent that was killed.
    Raises OSError where there can be none.
    """
    listening = await asyncio.to_thread(_bound, directory)
    desk = _Desk(orders)
    server = await asyncio.start_unix_server(desk.connected, sock=listening, limit=MAX_REQUEST)
    try:
        yield
    finally:
        server.close()
        tasks = list(desk.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread((directory / NAME).unlink, missing_ok=True)


def _bound(directory: Path) -> socket.socket:
    (directory / NAME).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # before it has a name: there is no moment at which others may connect
        with address(directory) as name:
            listening.bind(name)
        listening.listen(MAX_CONNECTIONS)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


@dataclass(slots=True, eq=False)
class _Desk:
    orders: Mapping[str, Order]
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio logs one that it made itself as an error when it is cancelled.
        task = asyncio.create_task(self._serve(_Client(reader, writer)), name="control socket: client")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, client: _Client) -> None:
        try:
            if len(self.tasks) <= 2 * MAX_CONNECTIONS:  # beyond that there is not even an answer
                await client.say(await self._answer(client, is_one_too_many=len(self.tasks) > MAX_CONNECTIONS))
        except (OSError, EOFError, TimeoutError) as gone:
            # The other side went away, or takes nothing. What it had asked for is given up by now.
            log.debug("a client of the control socket went away", reason=repr(gone))
        finally:
            await client.close()

    async def _answer(self, client: _Client, *, is_one_too_many: bool) -> Mapping[str, Any]:
        user = client.user()
        if user not in (None, 0, os.geteuid()):
            log.warning("an order from another user is refused", uid=user)
            return {"error": "only the agent's user and root may give it orders", "exit": os.EX_NOPERM}
        try:
            request = await client.request()
            order = self.orders[request["do"]]
        except (ValueError, LookupError, TypeError):
            known = ", ".join(self.orders)
            return {"error": f'not an order: one line such as {{"do": "..."}}, of {known}', "exit": os.EX_USAGE}
        if is_one_too_many:
            return {"error": "too many ask at the same time; try again", "exit": os.EX_TEMPFAIL}
        name = f"order: {request['do']}"
        work = asyncio.ensure_future(order(request, client.say))
        gone = asyncio.create_task(client.left(), name=f"{name}: client")
        try:
            while not work.done():
                await asyncio.wait({work, gone}, timeout=SIGN_OF_LIFE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if gone.done() and not work.done():
                    raise EOFError("the client has gone")
                if not work.done():
                    await client.say({"alive": True})
            return {"done": work.result()}
        except Refused as why:
            return {"error": str(why), "exit": why.code}
        except (EOFError, TimeoutError, ConnectionError):
            raise  # it is the client that fails
        except Exception:
            # A bug in what was ordered is said to both sides, and costs this order alone.
            log.exception("an order failed", order=request["do"])
            return {"error": "a bug; the agent's log has it", "exit": os.EX_SOFTWARE}
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


@dataclass(slots=True, eq=False)
class _Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _saying: asyncio.Lock = field(default_factory=asyncio.Lock)

    def user(self) -> int | None:
        """Whose process connected; None where the system does not tell (then the file's mode has to do)."""
        connection = self.writer.get_extra_info("socket")
        try:
            found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except (OSError, AttributeError):
            return None
        user: int = _CREDENTIALS.unpack(found)[1]
        return user

    async def request(self) -> dict[str, Any]:
        """What is asked for. Raises ValueError where that is no JSON object on one line, EOFError, TimeoutError."""
        async with asyncio.timeout(REQUEST_SECONDS):
            try:
                line = await self.reader.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                raise ValueError("too long") from error
        value = orjson.loads(line)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value

    async def left(self) -> None:
        """Return when the other side has closed, or does nothing but talk."""
        with suppress(OSError):
            for _ in range(MOST_READS):
                if not await self.reader.read(MAX_REQUEST):
                    return

    async def close(self) -> None:
        """Let go of the other side, at once where it does not take what was said last."""
        try:
            self.writer.close()
            async with asyncio.timeout(WRITE_SECONDS):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            self.writer.transport.abort()

    async def say(self, line: Mapping[str, Any]) -> None:
        """Send a line. Raises TimeoutError where the other side does not take it."""
        async with self._saying, asyncio.timeout(WRITE_SECONDS):
            self.writer.write(orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE))
            await self.writer.drain()
