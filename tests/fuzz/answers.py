"""
Targets `http` and `sinks`: any bytes in the place of an HTTP answer are an answer, or an error of the known kinds.

The client and the sinks are the agent's own; who answers is a socket that says what it is told to, and closes.
"""

from __future__ import annotations

import asyncio
import zlib
from array import array
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from functools import cache
from typing import Any

from agent.errors import DeliveryError, Unfit
from agent.http import MAX_ANSWER, HttpOptions, open_client
from agent.ports import Parcel
from agent.record import Run, middle
from agent.schema import Secret
from agent.sinks.cloud_insight.schema import Schema
from agent.sinks.cloud_insight.sink import CloudInsight
from agent.sinks.obsrv.sink import Obsrv
from agent.sinks.rackspace.sink import Rackspace

TIMEOUT = 1.0
KEY = "canary-of-the-fuzz"
KEYLESS = 2  # of the sinks below, the one that has no secret
WITH_TOKEN = 4  # the one that has a token, and shows the service no more than that


class Bench:
    """A far side on one port that answers what it is told to, and the loop that both sides run on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.troubles: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.troubles.append(context))
        self.answer: Callable[[bytes], bytes] = lambda head: b""
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._stack = AsyncExitStack()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer(head))
            writer.write_eof()
            await reader.read()
        writer.transport.abort()

    def keep(self, opening: Any) -> Any:
        """What it opens, for as long as the process lasts: sinks are opened once and send many times."""
        return self.loop.run_until_complete(self._stack.enter_async_context(opening))

    def run(self, work: Awaitable[Any]) -> Any:
        """What the work gives, within a bounded time and with nothing raised behind its back."""

        async def bounded() -> Any:
            async with asyncio.timeout(10 * TIMEOUT):
                return await work

        self.troubles.clear()
        try:
            return self.loop.run_until_complete(bounded())
        finally:
            assert self.troubles == [], self.troubles


@cache
def bench() -> Bench:
    """One for the process."""
    return Bench()


@cache
def _client() -> Any:
    return bench().keep(open_client(HttpOptions(timeout=TIMEOUT, connect_timeout=TIMEOUT)))


def http(data: bytes) -> None:
    """The bytes are all that the far side says."""
    client, side = _client(), bench()
    side.answer = lambda head: data

    async def ask() -> None:
        try:
            answer = await client.post(f"{side.url}/x", b"body", {"Authorization": f"Bearer {KEY}"}, hide=[KEY])
        except DeliveryError as error:
            _is_plain(error)
            return
        assert 0 <= answer.status <= 999
        assert len(answer.body) <= MAX_ANSWER
        assert KEY.encode() not in answer.body
        assert not any(KEY in value for value in answer.headers.values())
        assert answer.date is None or isinstance(answer.date, float)
        assert answer.retry_after is None or 0 <= answer.retry_after <= 3600

    side.run(ask())


def _are_plain(reasons: Iterable[str]) -> None:
    assert all(reason.isprintable() for reason in reasons)


def _is_plain(error: DeliveryError, *, knows_key: bool = True) -> None:
    """What is said of a failure is one printable line, and no secret of whoever asked."""
    for text in (error.reason, error.answer):
        assert text.isprintable(), repr(text)
        assert len(text) < 3000
        assert not knows_key or KEY not in text


RECORD = b'{"ts":1795000000000%b{"v":1,"what":"a \\"quoted\\" text"}}' % middle("host.cpu", {"host": "edge"})
RUN = Run(0xA1B2C3D4E5F60718, 40, RECORD, array("I", [len(RECORD)]), 1795000000000, 1795000000500)


@cache
def _sinks() -> list[tuple[Any, Parcel]]:
    common: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": TIMEOUT, "allow_insecure": True}
    url, schema = bench().url, Schema(cw_key="1", metrics={"v": "v"})
    # Its values are escaped without asking, as the question takes seconds.
    note: dict[str, Any] = {"tenant": "1", "rate": 60_000, "outside_window": "restamp", "escape": "json", **common}
    hosted = Rackspace(username="u", api_key=Secret(KEY), identity_url=url, **note)
    keys = {"access_key": Secret("access-key"), "secret_key": Secret(KEY)}
    made: list[Any] = [
        Obsrv(url=url, dataset="d", token=Secret(KEY), **common),
        CloudInsight(url=url, schema=[schema], rollup=0.0, **keys, **common),
        Rackspace(url=url, **note),
        hosted,  # Identity is answered as the rest of the bytes say
        hosted,  # Identity gives a token, the service is answered as the rest of the bytes say
    ]
    name = "a-1-1-00000000"
    return [(each, Parcel(name, each.pack(name, 1795000000500, each.encode(RUN)), 1)) for each in made]


def sinks(data: bytes) -> None:
    """The first byte chooses the sink, the rest is what its requests are answered with."""
    if not data:
        return
    side, choices = bench(), _sinks()
    which = data[0] % len(choices)
    sink, parcel = choices[which]
    token = answer(200, _TOKEN.replace(b"http://127.0.0.1:1", side.url.encode()))
    side.answer = lambda head: token if which == WITH_TOKEN and b"/tokens" in head else data[1:]

    async def deliver() -> None:
        try:
            async with sink.open() as send:  # anew each time, as a refusal is remembered
                await send(parcel)
        except Unfit as unfit:
            _are_plain(unfit.reasons.values())
        except DeliveryError as error:
            _is_plain(error, knows_key=which not in (KEYLESS, WITH_TOKEN))

    side.run(deliver())


def answer(status: int, body: bytes, *headers: bytes) -> bytes:
    """A whole answer."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), lines, body)


_DATE = b"Date: Sun, 22 Nov 2026 07:08:09 GMT"
_TOKEN = b'{"access":{"token":{"id":"t-1","expires":"2027-01-01T00:00:00Z"},"serviceCatalog":[{"name":"cloudMetricsIngest","endpoints":[{"publicURL":"http://127.0.0.1:1/v2.0/1"}]}]}}'
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"result":"success"}',
    b'{"result":"fail","message":"no"}',
    b'{"id":"api.data.in","params":{"status":"FAILED","resmsgid":"x"},"error":{"code":"10","message":"too large"}}',
    b'{"id":"api","error":{"message":"request entity too large"}}',
    b'{"error":{"errorCode":"210","message":"Permission Denied","details":"x"}}',
    b"<errorCode>200</errorCode><message>a</message>",
    b'{"errors":[{"source":"when","message":"in the past"},{"source":1,"message":{"a":[]}}]}',
    b'{"errors":[{"message":"[503] unable to reach elasticsearch"}]}',
    b'{"unauthorized":{"code":401,"message":"no"}}',
    _TOKEN,
    b"<html>\x1b[31m" + KEY.encode() + b"\r\n</html>",
    b"\xff\xfe" * 50,
    b"[" * 2000,
)


def bodies() -> list[bytes]:
    """Bodies as far sides send them, and some nested deeper than what would print them goes."""
    deep = [b"[" * depth + b"]" * depth for depth in (300, 1000, 1020)]
    frames = (
        b'{"result":%b}',
        b'{"result":"fail","message":%b}',
        b'{"error":{"code":%b,"message":%b}}',
        b'{"errors":[{"source":%b,"message":%b}]}',
        b'{"access":{"token":{"id":"t","expires":%b},"serviceCatalog":[{"name":%b,"endpoints":[{"publicURL":"http://h"}]}]}}',
    )
    return [*BODIES, *(frame.replace(b"%b", each) for frame in frames for each in deep)]


def seeds() -> list[bytes]:
    """Answers that are right, and the usual ways in which they are not."""
    statuses = (100, 200, 201, 204, 207, 301, 400, 401, 403, 404, 407, 413, 418, 429, 500, 503, 504, 999)
    whole = [answer(status, BODIES[n % len(BODIES)], _DATE) for n, status in enumerate(statuses)]
    packed = zlib.compress(b"0" * 500_000, wbits=31)
    return [
        *whole,
        answer(429, b"", b"Retry-After: 5"),
        answer(503, b"", b"Retry-After: Sun, 22 Nov 2026 07:09:09 +9999", _DATE),
        answer(200, packed, b"Content-Encoding: gzip"),
        answer(200, packed, b"Content-Encoding: br"),
        answer(401, b"", b"Set-Cookie: a=\x01b; c", b"Location: http://[", b"WWW-Authenticate: Bearer " + KEY.encode()),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"h" * 9000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + answer(200, b"{}"),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
        b"HTTP/1.0 200\r\n\r\nuntil the end",
        b"HTTP/2 200\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"",
    ]
