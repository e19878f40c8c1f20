"""The control socket: who may give orders, and what a client that misbehaves costs."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.cli.control import NoAgent, NotDone, ask
from agent.status import control
from agent.status.control import NAME, Order, Refused, Say, address, serve

Reading = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def count(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
    """An order that works."""
    for n in range(request["to"]):
        await say({"progress": n})
    return {"counted": request["to"]}


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[Reading]:
    with address(directory) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_to(directory: Path, sent: bytes) -> dict[str, Any] | None:
    """The last line that comes back; None where there is none."""
    async with asyncio.timeout(10), connected(directory) as (reader, writer):
        writer.write(sent)
        lines = (await reader.read()).splitlines()
        return json.loads(lines[-1]) if lines else None


async def works(directory: Path) -> None:
    """Whoever behaves is served."""
    assert await answer_to(directory, b'{"do":"count","to":3}\n') == {"done": {"counted": 3}}


def served(directory: Path, body: Callable[[], Any], **orders: Order) -> None:
    async def main() -> None:
        async with serve(directory, {"count": count, **orders}):
            await body()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_an_order_is_carried_out_and_says_how_it_gets_on(tmp_path: Path) -> None:
    async def body() -> None:
        said = await asyncio.to_thread(lambda: list(ask(tmp_path, {"do": "count", "to": 3})))
        assert said == [{"progress": 0}, {"progress": 1}, {"progress": 2}, {"done": {"counted": 3}}]

    served(tmp_path, body)


def test_it_is_for_its_user_alone_replaces_what_a_killed_agent_left_and_goes_with_the_agent(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / NAME))
    left.close()

    async def body() -> None:
        assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
        await works(tmp_path)

    served(tmp_path, body)
    assert not (tmp_path / NAME).exists()
    with pytest.raises(NoAgent):
        list(ask(tmp_path, {"do": "count"}))


def test_a_directory_with_a_long_name_has_one_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)

    async def body() -> None:
        await works(deep)
        assert stat.S_ISSOCK((deep / NAME).stat().st_mode)
        said = await asyncio.to_thread(lambda: list(ask(deep, {"do": "count", "to": 0})))
        assert said == [{"done": {"counted": 0}}]

    served(deep, body)
    assert not (deep / NAME).exists()


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[1,2]\n",
        b'{"do":"format-the-disk"}\n',
        b'{"do":{"a":1}}\n',
        b'{"do":["count"]}\n',
        b'{"to":3}\n',
        b"\x00\xff" * 500 + b"\n",
        b'{"do":"' + b"x" * (1 << 20) + b'"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * (1 << 20),
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_nonsense_is_answered_and_costs_nothing(tmp_path: Path, sent: bytes) -> None:
    async def body() -> None:
        try:
            answer = await answer_to(tmp_path, sent)
        except ConnectionError:
            answer = None  # it was not read to its end
        assert answer is None or (answer["exit"] == 64 and "count" in answer["error"])
        await works(tmp_path)

    served(tmp_path, body)


def test_clients_that_say_nothing_are_few_and_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_SECONDS", 1.0)

    async def body() -> None:
        silent = [await asyncio.open_unix_connection(str(tmp_path / NAME)) for _ in range(control.MAX_CONNECTIONS)]
        answer = await answer_to(tmp_path, b'{"do":"count","to":1}\n')
        assert answer is not None
        assert answer["exit"] == 75
        began = time.monotonic()
        for reader, writer in silent:
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.transport.abort()
        assert time.monotonic() - began < 4
        await works(tmp_path)

    served(tmp_path, body)


def test_what_was_being_done_for_a_client_that_died_is_given_up(tmp_path: Path) -> None:
    events: list[str] = []

    async def forever(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        events.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            events.append("given up")
        return {}

    async def body() -> None:
        async with connected(tmp_path) as (_, writer):
            writer.write(b'{"do":"forever"}\n')
            await until(lambda: events == ["began"])
        await until(lambda: events == ["began", "given up"])
        await works(tmp_path)

    served(tmp_path, body, forever=forever)


def test_a_client_that_takes_no_answers_or_talks_without_end_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "WRITE_SECONDS", 0.3)
    ends: list[str] = []

    async def chatter(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        try:
            while True:
                await say({"text": "x" * 10_000})
        finally:
            ends.append("chatter")

    async def patient(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("patient")
        return {}

    async def body() -> None:
        async with connected(tmp_path) as (_, deaf), connected(tmp_path) as (_, talker):
            deaf.write(b'{"do":"chatter"}\n')
            talker.write(b'{"do":"patient"}\n')
            with suppress(ConnectionError):
                while len(ends) < 2:
                    talker.write(b"blah " * 10_000)
                    await talker.drain()
            await until(lambda: len(ends) == 2)
        await works(tmp_path)

    served(tmp_path, body, chatter=chatter, patient=patient)


def test_an_agent_that_is_stopped_gives_its_orders_up(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def forever(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        began.set()
        await asyncio.Event().wait()
        return {}

    async def main() -> None:
        async with serve(tmp_path, {"forever": forever}):
            asking = asyncio.create_task(asyncio.to_thread(lambda: list(ask(tmp_path, {"do": "forever"}))))
            await began.wait()
        with pytest.raises(NotDone, match="ended before it was done"):
            await asking

    asyncio.run(main())


def test_an_order_that_fails_says_so_to_the_client_or_to_the_log(tmp_path: Path) -> None:
    async def refuse(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        raise Refused("not now", 75)

    async def broken(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        raise KeyError("a bug")

    async def body() -> None:
        assert await answer_to(tmp_path, b'{"do":"refuse"}\n') == {"error": "not now", "exit": 75}
        with capture_logs() as said:
            answer = await answer_to(tmp_path, b'{"do":"broken"}\n')
        assert answer is not None
        assert answer["exit"] == 70
        assert [line["event"] for line in said] == ["an order failed"]

    served(tmp_path, body, refuse=refuse, broken=broken)


def test_a_long_order_shows_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SIGN_OF_LIFE_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def slow(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        await go_on.wait()
        return {}

    async def body() -> None:
        async with asyncio.timeout(10), connected(tmp_path) as (reader, writer):
            writer.write(b'{"do":"slow"}\n')
            assert json.loads(await reader.readline()) == {"alive": True}
            assert json.loads(await reader.readline()) == {"alive": True}
            go_on.set()
            assert json.loads((await reader.read()).splitlines()[-1]) == {"done": {}}

    served(tmp_path, body, slow=slow)


@contextmanager
def as_user(number: int) -> Iterator[None]:
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_refused_whatever_the_files_say(tmp_path: Path) -> None:
    folder = Path("/dev/shm") / f"control-{os.getpid()}"
    folder.mkdir(mode=0o755)
    ran: list[str] = []

    async def mark(request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        ran.append("it")
        return {}

    async def body() -> None:
        with as_user(65534), socket.socket(socket.AF_UNIX) as other, pytest.raises(PermissionError):
            other.connect(str(folder / NAME))
        (folder / NAME).chmod(0o666)
        with socket.socket(socket.AF_UNIX) as other:
            with as_user(65534):
                other.connect(str(folder / NAME))
            other.sendall(b'{"do":"mark"}\n')
            other.setblocking(False)
            answer = json.loads(await asyncio.get_running_loop().sock_recv(other, 4096))
        assert answer["exit"] == 77
        assert ran == []

    try:
        served(folder, body, mark=mark)
    finally:
        folder.rmdir()


def test_more_than_an_agent_reads_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(NotDone, match="--all"):
        list(ask(tmp_path, {"do": "replay", "ids": ["x" * 40] * 2000}))
