"""What is said where no connection comes about: each message names its cause, and what a person can do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import brokers
import pytest
import trustme
from mqtt_harness import BOTH, Version, collector, eventually, logged, run
from scripted_broker import Broker

from agent.schema import Secret

both = pytest.mark.parametrize("version", BOTH)
# paho leaves the socket of a failed attempt to the garbage collector, which complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """It complains here, not in the test that happens to run when garbage is collected."""
    yield
    gc.collect()


async def trouble(url: str, version: Version, **options: Any) -> tuple[str, str, str]:
    """The state, the reason and the level of the line that a collector of that address comes to."""
    taken = collector(url, "t/#", protocol=version, **options)
    with logged() as lines:
        async with taken.running(up=False):
            await eventually(lambda: taken.part.state != "starting", "an end")
            state, reason = taken.part.state, taken.part.reason
    line = next(line for line in lines if line["event"] == "mqtt cannot connect")
    assert line["reason"] == reason
    return state, reason, line["log_level"]


@contextlib.asynccontextmanager
async def tls_port(
    folder: Path, cert: trustme.LeafCert | None = None, asks_for: trustme.CA | None = None
) -> AsyncIterator[int]:
    """A port of Mosquitto that speaks TLS with that certificate."""
    cert = cert or trustme.CA().issue_cert("127.0.0.1")
    cert.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    cert.private_key_pem.write_to_path(str(folder / "server.key"))
    port = brokers.free_port()
    lines = f"listener {port} 127.0.0.1\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    if asks_for is not None:
        asks_for.cert_pem.write_to_path(str(folder / "clients.pem"))
        lines += f"cafile {folder}/clients.pem\nrequire_certificate true\n"
    with brokers.mosquitto(folder / "broker", listener=lines):
        yield port


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[trustme.CA]:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@both
@pytest.mark.parametrize("option", ["ca_file", "client_cert", "client_key"])
@pytest.mark.parametrize("fault", ["missing", "directory", "no pem"])
def test_a_file_that_cannot_be_used_is_named_with_its_option(
    version: Version, option: str, fault: str, tmp_path: Path, authority: trustme.CA
) -> None:
    client = authority.issue_cert("agent@example.org")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    path = {"missing": tmp_path / "nope.pem", "directory": tmp_path, "no pem": tmp_path / "text"}[fault]
    (tmp_path / "text").write_text("no certificate at all\n")
    given = {"ca_file": tmp_path / "ca.pem", "client_cert": tmp_path / "cert.pem", "client_key": tmp_path / "key.pem"}
    kind = "key" if option == "client_key" else "certificate"
    why = {
        "missing": "cannot be read: no such file",
        "directory": "cannot be read: is a directory",
        "no pem": f"holds no PEM {kind}",
    }[fault]
    expected = ("down", f"collectors.plant.{option}: {path} {why}", "error")
    given[option] = path
    run(_expect(expected, f"mqtts://127.0.0.1:{brokers.free_port()}", version, **given))


async def _expect(expected: tuple[str, str, str], url: str, version: Version, **options: Any) -> None:
    assert await trouble(url, version, **options) == expected


def test_a_key_of_another_certificate_is_named(tmp_path: Path, authority: trustme.CA) -> None:
    one, other = (authority.issue_cert(f"{name}@example.org") for name in ("one", "other"))
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    reason = f"collectors.plant.client_key: {tmp_path}/key.pem is not the key of client_cert"
    given = {"client_cert": tmp_path / "cert.pem", "client_key": tmp_path / "key.pem"}
    run(_expect(("down", reason, "error"), f"mqtts://127.0.0.1:{brokers.free_port()}", "5", **given))


@both
def test_a_password_file_that_is_gone_is_named(version: Version, tmp_path: Path) -> None:
    password = Secret(path=str(tmp_path / "gone"))
    reason = f"collectors.plant.password_file: {tmp_path}/gone cannot be read: no such file"
    url = f"mqtt://127.0.0.1:{brokers.free_port()}"
    run(_expect(("down", reason, "error"), url, version, username="agent", password=password))


@both
@pytest.mark.parametrize("fault", ["self-signed", "unknown", "not in file", "expired", "host"])
def test_a_certificate_that_is_not_trusted_is_an_error_with_advice(
    version: Version, fault: str, tmp_path: Path, authority: trustme.CA
) -> None:
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    cert, own, why = {
        "self-signed": (_self_signed(), False, "self-signed; give ca_file"),
        "unknown": (authority.issue_cert("127.0.0.1"), False, "its authority is not known; give ca_file"),
        "not in file": (trustme.CA().issue_cert("127.0.0.1"), True, "its authority is not in ca_file"),
        "expired": (
            authority.issue_cert("127.0.0.1", not_before=past, not_after=past + dt.timedelta(days=9)),
            True,
            "it has expired; renew it, or is this machine's clock wrong?",
        ),
        "host": (
            authority.issue_cert("broker.example.org"),
            True,
            "it is not for 127.0.0.1; give a name that stands in it as the host of url",
        ),
    }[fault]

    async def main() -> None:
        async with tls_port(tmp_path, cert) as port:
            given = {"ca_file": tmp_path / "ca.pem"} if own else {}
            found = await trouble(f"mqtts://127.0.0.1:{port}", version, **given)
            assert found == ("down", f"the broker's certificate is not trusted: {why}", "error")

    run(main())


def _self_signed() -> trustme.LeafCert:
    own = trustme.CA()
    return trustme.LeafCert(own.private_key_pem.bytes(), own.cert_pem.bytes(), [])


@both
def test_a_broker_that_asks_for_a_certificate_is_guessed(
    version: Version, tmp_path: Path, authority: trustme.CA
) -> None:
    async def main() -> None:
        async with tls_port(tmp_path, authority.issue_cert("127.0.0.1"), asks_for=authority) as port:
            state, reason, level = await trouble(f"mqtts://127.0.0.1:{port}", version, ca_file=tmp_path / "ca.pem")
            assert (state, level) == ("down", "warning")
            assert reason.endswith("; does the broker ask for client_cert and client_key?")

    run(main())


@both
def test_tls_towards_a_port_without_it_is_guessed(version: Version, tmp_path: Path) -> None:
    async def main() -> None:
        with brokers.mosquitto(tmp_path) as broker:
            state, reason, level = await trouble(f"mqtts://127.0.0.1:{broker.port}", version)
            assert (state, level) == ("down", "warning")
            assert reason.endswith("; is this port without TLS?")
            assert "Errno" not in reason

    run(main())


@both
def test_no_tls_towards_a_port_with_it_is_guessed(version: Version, tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_port(tmp_path) as port:
            state, reason, level = await trouble(f"mqtt://127.0.0.1:{port}", version)
            assert (state, level) == ("down", "warning")
            assert reason.endswith("; does this port want mqtts://?")
            assert "Errno" not in reason

    run(main())


@both
def test_an_answer_in_tls_is_no_malformed_packet(version: Version) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x15\x03\x03\x00\x02\x02\x46")  # the alert of most TLS servers: protocol_version
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, reason, _ = await trouble(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}", version)
        server.close()
        said = "the broker answers with TLS" if version == "5" else "the broker closed the connection"
        assert reason == f"{said}; does this port want mqtts://?"

    run(main())


def test_a_websocket_without_tls_towards_a_port_with_it_is_guessed(tmp_path: Path) -> None:
    async def main() -> None:
        async with tls_port(tmp_path) as port:
            _, reason, _ = await trouble(f"ws://127.0.0.1:{port}", "3.1.1")
            assert reason.endswith("; does this port want wss://?")

    run(main())


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_where_nobody_listens_is_said_in_two_words(version: Version, host: str) -> None:
    expected = ("down", "cannot connect: connection refused", "warning")
    run(_expect(expected, f"mqtt://{host}:{brokers.free_port()}", version))


REFUSALS: list[tuple[Version, int, str]] = [
    ("5", 0x86, "bad user name or password (0x86); check username and password of collectors.plant"),
    ("5", 0x87, "not authorized (0x87); check username and password of collectors.plant"),
    ("5", 0x88, "server unavailable (0x88)"),
    ("3.1.1", 2, "client id not valid (2)"),
    ("3.1.1", 3, "server unavailable (3)"),
    ("3.1.1", 4, "bad user name or password (4); check username and password of collectors.plant"),
    ("3.1.1", 5, "not authorized (5); check username and password of collectors.plant"),
]


@pytest.mark.parametrize(("version", "code", "words"), REFUSALS)
def test_a_refusal_has_the_code_that_was_sent_and_the_advice(version: Version, code: int, words: str) -> None:
    async def main() -> None:
        broker = Broker(version, connack=lambda: (False, code))
        async with broker.running():
            _, reason, _ = await trouble(broker.url, version)
            assert reason == f"the broker refused the connection: {words}"

    run(main())
