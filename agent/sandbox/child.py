"""
A stand-in as a child process, from both ends.

Outside: `started` runs one, `call` reaches its own paths. Inside: `serve` tells its addresses and goes on until the end
of whoever started it, kill -9 included, because then its stdin closes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

Opened = TypeVar("Opened")


@contextmanager
def started(module: str, arguments: Sequence[str], *, addresses: int = 1) -> Iterator[list[str]]:
    """Run `python -m module --parent ...` until left, and give the addresses on its first line."""
    command = [sys.executable, "-m", module, "--parent", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None  # noqa: S101 - PIPE was asked for
            urls = child.stdout.readline().split()
            if len(urls) != addresses:
                raise RuntimeError(f"the sandbox did not start: exit {child.wait(10)}")
            yield urls
        finally:
            end(child, 10)


def end(child: subprocess.Popen[Any], seconds: float) -> None:
    """End a child; it has so many seconds to do so in order."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()


def call(url: str, method: str, path: str, body: object = None) -> bytes:
    """Ask one of its own paths, with a JSON body unless None."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_sandbox/{path}", data, method=method)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback, our own process
        return bytes(answer.read())


async def serve(
    opening: AbstractAsyncContextManager[Opened], urls: Callable[[Opened], Sequence[str]], *, parent: bool
) -> None:
    """Open it, print its addresses, and serve until SIGTERM or SIGINT; with `parent`, until stdin closes, too."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    if parent:  # whoever started it holds the other end of stdin; it ends with them
        loop.add_reader(sys.stdin.fileno(), done.set)
    async with opening as sandbox:
        sys.stdout.write(f"{' '.join(urls(sandbox))}\n")
        sys.stdout.flush()
        await done.wait()
