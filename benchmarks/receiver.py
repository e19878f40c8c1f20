"""
The far side: an HTTP server in a process of its own that answers as Obsrv does and notes when each record came.

It answers first and looks afterwards, so that what it costs itself is in no latency. A record is told by the
number after a marker in the body. On command it goes away: the listening socket is closed, connections are
reset, and after so many seconds it is back on the same port.

The bench speaks with it in JSON lines, one question and one answer at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isal import igzip

from benchmarks.programs import ROOT, Failed, module

SEQ = '"seq":'  # what stands before the number of a record in JSON payloads
DATASET = "load"
PATH = f"/v2/data/in/{DATASET}"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GZIP = re.compile(rb"\r\ncontent-encoding: *gzip", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_unzip: Callable[[bytes], bytes] = igzip.decompress
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What has arrived for a dataset: `times` has the moment of each number in ns, 0 where there is none."""

    count: int
    duplicates: int
    requests: int
    wire_bytes: int
    times: array[int]

    @property
    def first(self) -> int:
        """When the first came; 0 without any."""
        return min((moment for moment in self.times if moment), default=0)

    @property
    def last(self) -> int:
        """When the last new one came."""
        return max(self.times, default=0)


class Receiver:
    """The bench's end of the line."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.pid = process.pid
        self.port = int(self._ask(what="port")["port"])
        self.url = f"http://127.0.0.1:{self.port}"

    def arrived(self, dataset: str = DATASET) -> Arrivals:
        """All that has arrived so far."""
        path = self._folder / "arrived.bin"
        said = self._ask(what="arrived", dataset=dataset, path=str(path))
        times = array("Q")
        times.frombytes(path.read_bytes())
        return Arrivals(times=times, **said)

    def go_away(self, seconds: float, *, after: float = 0.0) -> None:
        """In so many seconds, be gone for so long. Returns at once."""
        self._ask(what="away", seconds=seconds, after=after)

    def wait_for(self, count: int, timeout: float, datasets: tuple[str, ...] = (DATASET,)) -> bool:
        """Return once so many different records have come to each of the datasets; False after the timeout."""
        return bool(self._ask(what="wait", count=count, timeout=timeout, datasets=datasets)["reached"])

    def _ask(self, **question: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            log = (self._folder / "receiver.log").read_text(errors="replace")
            raise Failed(f"the receiver ended with status {self._process.wait()}:\n{log[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def receiver(folder: Path, *, marker: str = SEQ) -> Iterator[Receiver]:
    """A receiver that finds its records by that marker."""
    with (folder / "receiver.log").open("ab") as log:
        process = subprocess.Popen(
            module("benchmarks.receiver", "--marker", marker),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:  # closes its stdin, at which it ends, and waits
        yield Receiver(process, folder)


@dataclass(slots=True)
class _Dataset:
    """One path's records, as they come."""

    times: array[int] = field(default_factory=lambda: array("Q"))
    count: int = 0
    duplicates: int = 0
    requests: int = 0
    wire_bytes: int = 0

    def take(self, numbers: list[bytes], now: int) -> None:
        times = self.times
        for number in map(int, numbers):
            try:
                if times[number]:
                    self.duplicates += 1
                    continue
            except IndexError:
                times.frombytes(bytes(8 * (number + 1 + (number >> 1) - len(times))))
            times[number] = now
            self.count += 1

    def tell(self, path: Path) -> dict[str, int]:
        """The times go into that file, the rest is the answer."""
        path.write_bytes(self.times.tobytes())
        return {name: getattr(self, name) for name in ("count", "duplicates", "requests", "wire_bytes")}


class _Server:
    """What all connections share."""

    def __init__(self, marker: str) -> None:
        self.find = re.compile(re.escape(marker.encode()) + rb"(\d+)").findall
        self.datasets: dict[str, _Dataset] = {}
        self.connections: set[_Connection] = set()
        self.port = 0
        self._listening: asyncio.Server | None = None
        self._wanted = 0
        self._wanted_of: list[str] = []
        self._reached = asyncio.Event()

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    def take(self, path: str, body: bytes, gzipped: bool) -> None:
        """Note a body that was answered 2xx."""
        now = time.time_ns()
        dataset = self.datasets.setdefault(path.rpartition("/")[2], _Dataset())
        dataset.requests += 1
        dataset.wire_bytes += len(body)
        dataset.take(self.find(_unzip(body) if gzipped else body), now)
        if self._wanted and self._all_there():
            self._reached.set()

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        match question["what"]:
            case "port":
                return {"port": self.port}
            case "arrived":
                return self.datasets.get(question["dataset"], _Dataset()).tell(Path(question["path"]))
            case "away":
                loop = asyncio.get_running_loop()
                loop.call_later(question["after"], self._leave)
                loop.call_later(question["after"] + question["seconds"], self._return)
                return {}
            case "wait":
                self._wanted, self._wanted_of = question["count"], question["datasets"]
                if not self._all_there():
                    self._reached.clear()
                    try:
                        await asyncio.wait_for(self._reached.wait(), question["timeout"])
                    except TimeoutError:
                        return {"reached": False}
                return {"reached": True}
            case other:
                raise ValueError(f"no such question: {other}")

    def _all_there(self) -> bool:
        return all(name in self.datasets and self.datasets[name].count >= self._wanted for name in self._wanted_of)

    def _leave(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for connection in list(self.connections):
            connection.reset()

    def _return(self) -> None:
        self._returning = asyncio.get_running_loop().create_task(self.listen())


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as clients of data-in speak it: POST, with a Content-Length, kept alive."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._continued = False
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)

    def reset(self) -> None:
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[: end + 2])
            length = _LENGTH.search(head)
            if length is None:
                self._answer("411 Length Required", b"")
                self._transport.close()
                return
            start, stop = end + 4, end + 4 + int(length[1])
            if len(self._buffer) < stop:
                if not self._continued and _EXPECT.search(head):
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    self._continued = True
                return
            body = bytes(self._buffer[start:stop])
            del self._buffer[:stop]
            self._continued = False
            self._answer("200 OK", _envelope())
            self._server.take(head.split(b" ", 2)[1].decode(), body, _GZIP.search(head) is not None)

    def _answer(self, status: str, body: bytes) -> None:
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)


def _envelope() -> bytes:
    """Obsrv's whole answer: a client may look for any of its marks."""
    return (
        b'{"id":"api.data.in","ver":"v2","ts":"%s+00:00","params":{"status":"SUCCESS",'
        b'"resmsgid":"7c1b7a53-9f5e-4f3c-8f4c-0d9f3f6a2a11"},"responseCode":"OK",'
        b'"result":{"message":"Data ingested successfully"}}'
        % time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()).encode()
    )


async def _serve(marker: str) -> None:
    server = _Server(marker)
    await server.listen()
    questions = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    while line := await questions.readline():
        print(json.dumps(await server.answer(json.loads(line))), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__)
    parser.add_argument("--marker", required=True)
    asyncio.run(_serve(parser.parse_args().marker))


if __name__ == "__main__":
    main()
