"""TLS, client certificates, websockets and proxies, against Mosquitto; and what TLS costs in wake-ups."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brokers
import pytest
import trustme
from brokers import Broker
from mqtt_harness import BOTH, Version, collector, eventually, logged, publisher, run

from agent.collectors.mqtt import Subscription

both = pytest.mark.parametrize("version", BOTH)


@dataclass
class Secured:
    """Mosquitto with a plain listener, and others behind TLS."""

    plain: Broker
    tls: str
    mutual: str
    websocket: str
    secure_websocket: str
    ca: Path
    cert: Path
    key: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("agent@example.org")
    for name, cert in (("server", server), ("client", client)):
        cert.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        cert.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
    tls, mutual, websocket, secure = (brokers.free_port() for _ in range(4))
    keys = f"certfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    listeners = (
        f"listener {tls} 127.0.0.1\n{keys}"
        f"listener {mutual} 127.0.0.1\n{keys}cafile {folder}/ca.pem\nrequire_certificate true\n"
        f"listener {websocket} 127.0.0.1\nprotocol websockets\n"
        f"listener {secure} 127.0.0.1\nprotocol websockets\n{keys}"
    )
    with brokers.mosquitto(folder / "broker", listener=listeners) as broker:
        yield Secured(
            broker,
            f"mqtts://127.0.0.1:{tls}",
            f"mqtts://localhost:{mutual}",
            f"ws://127.0.0.1:{websocket}/mqtt",
            f"wss://127.0.0.1:{secure}/mqtt",
            folder / "ca.pem",
            folder / "client.pem",
            folder / "client.key",
        )


async def exchange(secured: Secured, url: str, version: Version, **options: Any) -> None:
    """A few messages, small and large, over that address."""
    topic = f"tls/{abs(hash((url, version)))}"
    taken = collector(url, f"{topic}/#", protocol=version, client_id=topic.replace("/", "-"), **options)
    sent = [b"small", b"x" * 200_000, b"", *(b"%d" % n for n in range(100))]
    async with taken.running():

        def send() -> None:
            with publisher(secured.plain.port) as device:
                device.send(f"{topic}/a", *sent)

        await asyncio.to_thread(send)
        await taken.intake.holds(len(sent))
        assert taken.intake.payloads == sent


@both
def test_messages_come_through_tls(secured: Secured, version: Version) -> None:
    run(exchange(secured, secured.tls, version, ca_file=secured.ca))


@both
def test_messages_come_through_tls_with_a_client_certificate(secured: Secured, version: Version) -> None:
    options = {"ca_file": secured.ca, "client_cert": secured.cert, "client_key": secured.key}
    run(exchange(secured, secured.mutual, version, **options))


# paho leaves the socket of a failed handshake to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@both
def test_a_certificate_that_nobody_vouches_for_is_refused_unless_that_is_asked_for(
    secured: Secured, version: Version
) -> None:
    async def main() -> None:
        taken = collector(secured.tls, "t/#", protocol=version)
        with logged():
            async with taken.running(up=False):
                await eventually(lambda: taken.part.state == "down", "down")
                assert "certificate is not trusted" in taken.part.reason
        await exchange(secured, secured.tls, version, tls_insecure=True)

    run(main())


def test_messages_come_through_websockets(secured: Secured) -> None:
    run(exchange(secured, secured.websocket, "3.1.1"))


def test_messages_come_through_websockets_over_tls(secured: Secured) -> None:
    run(exchange(secured, secured.secure_websocket, "3.1.1", ca_file=secured.ca))


@contextlib.asynccontextmanager
async def http_proxy() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that knows CONNECT."""
    asked: list[bytes] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        host, port = head.split()[1].decode().rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_messages_come_through_a_proxy(secured: Secured) -> None:
    async def main() -> None:
        async with http_proxy() as (proxy, asked):
            await exchange(secured, secured.plain.url, "3.1.1", proxy=proxy)
            assert asked == [b"CONNECT 127.0.0.1:%d HTTP/1.1" % secured.plain.port]

    run(main())


class Counting(selectors.DefaultSelector):
    """Counts how often the loop slept and was woken, by data or by a timer: the truth, whatever layers lie above."""

    def __init__(self) -> None:
        super().__init__()
        self.wakeups = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.wakeups += timeout is None or timeout > 0
        return super().select(timeout)


RATE, SECONDS = 2_500, 2.0


def wakeups(secured: Secured, url: str, **options: Any) -> tuple[int, int]:
    """Wake-ups and messages while a device sends 2,500 messages a second."""
    selector = Counting()
    topic = f"pace/{url.split(':', maxsplit=1)[0]}"

    async def main() -> tuple[int, int]:
        taken = collector(url, Subscription(topic=f"{topic}/#", qos=0), client_id=topic.replace("/", "-"), **options)
        async with taken.running():
            before = selector.wakeups
            done = asyncio.create_task(asyncio.to_thread(send_steadily))
            # Waiting here must not wake the loop more than the messages do.
            await done
            await asyncio.sleep(0.2)
            return selector.wakeups - before, len(taken.intake.payloads)

    def send_steadily() -> None:
        import time

        with publisher(secured.plain.port) as device:
            start = time.monotonic()
            for tick in range(int(SECONDS * 500)):
                for _ in range(RATE // 500):
                    device.post(f"{topic}/a", b"x" * 200)
                time.sleep(max(0.0, start + (tick + 1) / 500 - time.monotonic()))

    loop = asyncio.SelectorEventLoop(selector)
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_tls_wakes_us_at_most_twice_as_often_as_plain_tcp(secured: Secured) -> None:
    plain, arrived = wakeups(secured, secured.plain.url)
    encrypted, arrived_too = wakeups(secured, secured.tls, ca_file=secured.ca)
    print(f"wake-ups in {SECONDS:g} s at {RATE}/s: plain {plain}, TLS {encrypted}; messages {arrived}, {arrived_too}")
    assert min(arrived, arrived_too) > RATE * SECONDS * 0.9
    assert plain < RATE * SECONDS / 10  # coalesced at all
    assert encrypted <= 2 * plain
