"""Targets `status` and `control`: any bytes as a request get an answer of one of the kinds there are, or none."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

from agent.stats import Health, Stats
from agent.status import control, server
from agent.status.control import Say
from agent.status.pages import pages
from agent.status.view import View

_SERVED = {200, 400, 404, 405, 421, 431, 503}
_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n((?:[A-Za-z-]+: [ -~]*\r\n)+)\r\n", re.DOTALL)


def _view() -> View:
    health = Health()
    health.part("sink", "lake").become("down", reason='a "reason" \x1b[31m </script>')
    return View(
        agent=lambda: {
            "version": "1.2.3",
            "config_hash": "abc",
            "spool_format": 1,
            "hostname": "edge",
            "started": 0.0,
            "durability": "strict",
        },
        spool=lambda: {
            "directory": "/x",
            "bytes": 0,
            "max_bytes": 1,
            "pending_bytes": 0,
            "closed_reason": None,
            "lanes": {},
        },
        sinks=lambda: {"lake": {"type": "obsrv", "queued": 3}},
        collectors=dict,
        withheld=lambda: "",
        health=health,
        stats=Stats(),
    )


async def _count(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
    await say({"progress": 1})
    return {"counted": len(request)}


class Bench:
    """Both servers, and the loop that they run on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.troubles: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.troubles.append(context))
        self._stack = AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-control-"))
        enter = self._stack.enter_async_context
        self.port = self.loop.run_until_complete(enter(server.serve(pages(_view()), "127.0.0.1", 0)))
        self.loop.run_until_complete(enter(control.serve(self.folder, {"count": _count})))

    def ask(
        self, opening: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]], data: bytes
    ) -> bytes:
        """All that comes back; the request ends with the bytes."""

        async def asked() -> bytes:
            async with asyncio.timeout(10):
                reader, writer = await opening()
                try:
                    writer.write(data)
                    writer.write_eof()
                    return await reader.read()
                except ConnectionError:
                    return b""
                finally:
                    writer.transport.abort()

        self.troubles.clear()
        answer = self.loop.run_until_complete(asked())
        assert self.troubles == [], self.troubles
        return answer


@cache
def bench() -> Bench:
    """One for the process."""
    return Bench()


def status(data: bytes) -> None:
    """A request to the status pages."""
    side = bench()
    answer = side.ask(lambda: asyncio.open_connection("127.0.0.1", side.port), data)
    if not answer:
        return
    head = _HEAD.match(answer)
    assert head is not None, answer[:200]
    assert int(head[1]) in _SERVED
    length = re.search(rb"Content-Length: (\d+)", head[2])
    assert length is not None
    assert len(answer) - head.end() in (0, int(length[1]))
    if int(head[1]) == 200:
        assert re.match(rb"(GET|HEAD) /[^ ]* HTTP/1\.[01]\r\n", data), "served without a request"


def control_order(data: bytes) -> None:
    """A request to the control socket."""
    side = bench()
    answer = side.ask(lambda: asyncio.open_unix_connection(side.folder / control.NAME), data)
    for line in answer.splitlines():
        said = json.loads(line)
        assert isinstance(said, dict)
        assert set(said) <= {"progress", "alive", "done", "error", "exit"}


def status_seeds() -> list[bytes]:
    """Requests that are served, and some that are not."""
    host = b"Host: 127.0.0.1\r\n"
    paths = (
        b"/",
        b"/status.json",
        b"/metrics?x=1",
        b"/health/live",
        b"/../etc/passwd",
        b"/%2e%2e/",
        b"//",
        b"/x" * 100,
    )
    return [
        *(method + b" " + path + b" HTTP/1.1\r\n" + host + b"\r\n" for method in (b"GET", b"HEAD") for path in paths),
        b"POST /status.json HTTP/1.1\r\n" + host + b"Content-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host * 2 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: [::1]:80\r\nX-Y: z\r\n\r\n",
    ]


def control_seeds() -> list[bytes]:
    """Orders, and what looks like some."""
    return [
        b'{"do":"count"}\n',
        b'{"do":"count","to":3}\n{"do":"count"}\n',
        b'{"do":["count"]}\n',
        b'{"do":null}\n',
        b"[]\n",
        b"null\n",
        b'{"do":"count","ids":["' + b"x" * 70_000 + b'"]}\n',
        b"[" * 5000 + b"\n",
        b'{"do":"\\ud800"}\n',
        b"\n",
        b"",
    ]
