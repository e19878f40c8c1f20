"""The client against real sockets that hang, break, lie and speak TLS."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from far_side import Act, FarSide, answer, far_side, hang, listening, raw, reset, run, until

from agent.errors import Retryable
from agent.http import MAX_ANSWER, Answer, HttpOptions, open_client
from agent.schema import Secret


async def post(url: str, options: HttpOptions | None = None, *, body: bytes = b"{}", hide: str = "") -> Answer:
    async with open_client(options or HttpOptions()) as client:
        return await client.post(url, body, {"Content-Type": "application/json", "X-Key": hide or "none"}, hide=[hide])


async def failure(url: str, options: HttpOptions | None = None, **more: object) -> Retryable:
    with pytest.raises(Retryable) as caught:
        await post(url, options, **more)  # type: ignore[arg-type]
    assert caught.value.__cause__ is not None
    return caught.value


def test_a_request_is_what_was_asked_for_and_no_more() -> None:
    async def main() -> None:
        async with far_side(answer(207, b"taken", {"X-Note": "n", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"})) as side:
            said = await post(side.url + "/a%2Fb", body=b"\x00data")
            assert (said.status, said.body, said.headers["x-note"], said.date) == (207, b"taken", "n", 784111777.0)
            (request,) = side.requests
            assert request.line == "POST /a%2Fb HTTP/1.1"
            assert request.body == b"\x00data"
            own = {"content-type", "content-length", "x-key", "user-agent", "accept-encoding"}
            assert set(request.headers) == own | {"host", "accept"}
            assert request.headers["user-agent"].startswith("telemetry-agent/")

    run(main())


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_request_without_a_body_names_no_type_of_one(method: str) -> None:
    async def main() -> None:
        async with far_side(answer()) as side:
            async with open_client(HttpOptions()) as client:
                await client.request(method, side.url, None, {})
            assert "content-type" not in side.requests[0].headers

    run(main())


def test_nobody_listening_leaves_no_doubt() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}")
        assert (error.ambiguous, error.operator) == (False, False)
        assert error.reason == f"cannot connect to 127.0.0.1:{port}: Connection refused"

    run(main())


def test_an_unknown_name_leaves_no_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    async def main() -> None:
        error = await failure("http://nowhere.example")
        assert (error.ambiguous, error.operator) == (False, False)
        assert error.reason == "cannot find nowhere.example: Name or service not known"

    run(main())


@pytest.mark.parametrize(
    "act",
    [
        hang,
        reset,
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcd"),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        raw(b"\x00\x01\x02" * 1000),
    ],
    ids=["hang", "reset", "close", "half a head", "half a body", "half a chunk", "not HTTP", "garbage"],
)
def test_without_a_whole_answer_the_batch_may_have_been_taken(act: Act) -> None:
    async def main() -> None:
        async with far_side(act) as side:
            error = await failure(side.url, HttpOptions(timeout=0.3, connect_timeout=0.3))
            assert (error.ambiguous, error.operator) == (True, False), error.reason
            assert error.reason
            assert len(side.requests) == 1

    run(main())


def test_a_slow_answer_within_the_time_is_an_answer() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.002)

    async def main() -> None:
        async with far_side(slow) as side:
            assert (await post(side.url)).body == b"slow"

    run(main())


def test_a_server_that_never_shakes_hands_was_sent_nothing() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with listening(mute) as port:
            error = await failure(f"https://127.0.0.1:{port}", HttpOptions(timeout=5, connect_timeout=0.2))
            assert (error.ambiguous, error.operator) == (False, False)
            assert error.reason == "no connection within 0.2 s"

    run(main())


def test_an_answer_ahead_of_the_whole_body_is_heard() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        while await reader.read(65536):
            pass

    async def main() -> None:
        async with listening(early) as port:
            assert (await post(f"http://127.0.0.1:{port}", body=bytes(900_000))).status == 413

    run(main())


def test_redirects_are_not_followed_and_cookies_not_kept() -> None:
    async def main() -> None:
        async with far_side(answer(307, b"", {"Location": "/elsewhere", "Set-Cookie": "a=b; Path=/"})) as side:
            async with open_client(HttpOptions()) as client:
                for _ in range(2):
                    assert (await client.post(side.url, b"{}", {})).status == 307
            assert [request.target for request in side.requests] == ["/", "/"]
            assert "cookie" not in side.requests[1].headers

    run(main())


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate-that-is-none"])
def test_no_answer_is_read_without_end(encoding: str) -> None:
    body = b"x" * (20 << 20)
    body = gzip.compress(body, 1) if encoding == "gzip" else body[: 4 << 20]

    async def main() -> None:
        async with far_side(answer(500, body, {"Content-Encoding": encoding})) as side:
            assert len((await post(side.url)).body) == MAX_ANSWER

    run(main())


def test_a_compressed_answer_is_read_though_none_was_asked_for() -> None:
    async def main() -> None:
        async with far_side(answer(200, gzip.compress(b'{"a":1}'), {"Content-Encoding": "gzip"})) as side:
            assert (await post(side.url)).body == b'{"a":1}'
            assert side.requests[0].headers["accept-encoding"] == "identity"

    run(main())


def test_an_answer_that_repeats_the_secret_is_cleaned() -> None:
    secret = "eyJhbGciOi.eyJzdWIi.c2ln"
    echo = answer(401, f'{{"message":"bad token {secret}"}}', {"Location": f"https://login/?t={secret}"})

    async def main() -> None:
        async with far_side(echo) as side:
            said = await post(side.url, hide=secret)
            assert said.body == b'{"message":"bad token ***"}'
            assert secret not in str(said)
            assert side.requests[0].headers["x-key"] == secret

    run(main())


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nhalf", b"%b\r\n\r\n", b"HTTP/1.1 2x0 %b\r\n\r\n"])
def test_a_broken_answer_that_repeats_the_secret_is_not_quoted(said: bytes) -> None:
    async def main() -> None:
        async with far_side(raw(said % b"t0p-secret")) as side:
            assert "t0p-secret" not in (await failure(side.url, hide="t0p-secret")).reason

    run(main())


def test_connections_are_kept_until_they_have_been_idle_for_too_long() -> None:
    async def main() -> None:
        async with far_side(answer()) as side, open_client(HttpOptions(), keepalive=0.3) as client:
            await client.post(side.url, b"1", {})
            await client.post(side.url, b"2", {})
            assert side.connections == 1
            await until(lambda: side.open_now == 0)  # our end closes it
            await client.post(side.url, b"3", {})
            assert side.connections == 2

    run(main())


def test_a_connection_that_the_far_side_closed_while_idle_costs_nothing() -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        await answer()(writer)
        asyncio.get_running_loop().call_later(0.05, writer.close)

    async def main() -> None:
        async with far_side(once) as side, open_client(HttpOptions(), keepalive=30) as client:
            for n in range(1, 4):
                await client.post(side.url, b"{}", {})
                assert side.connections == n
                await until(lambda: side.open_now == 0)

    run(main())


def test_cancelling_is_no_failure() -> None:
    async def main() -> None:
        async with far_side(hang) as side:
            task = asyncio.create_task(post(side.url))
            await until(lambda: bool(side.requests))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


# TLS


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(directory: Path, authority: trustme.CA) -> Path:
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    return directory / "ca.pem"


def test_a_certificate_of_the_named_authority_is_trusted(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority), host="localhost") as side:
            assert (await post(side.url, HttpOptions(ca_file=written(tmp_path, authority)))).status == 200

    run(main())


def test_a_certificate_of_nobody_known_is_for_the_operator(authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority)) as side:
            error = await failure(side.url)
            assert (error.ambiguous, error.operator) == (False, True)
            assert "unable to get local issuer certificate" in error.reason
            assert side.requests == []

    run(main())


def test_a_certificate_for_another_name_is_for_the_operator(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority, "other.example")) as side:
            error = await failure(side.url, HttpOptions(ca_file=written(tmp_path, authority)))
            assert error.operator
            assert "not valid for '127.0.0.1'" in error.reason

    run(main())


def test_plain_http_where_tls_is_expected_is_for_the_operator() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def main() -> None:
        async with listening(plain) as port:
            error = await failure(f"https://127.0.0.1:{port}")
            assert (error.ambiguous, error.operator) == (False, True)
            assert error.reason.startswith("TLS: ")

    run(main())


def test_an_authority_put_in_place_later_is_used_without_a_restart(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with (
            far_side(answer(), tls=server_tls(authority)) as side,
            open_client(HttpOptions(ca_file=tmp_path / "ca.pem")) as client,
        ):
            with pytest.raises(Retryable, match="files for TLS cannot be used: No such file") as caught:
                await client.post(side.url, b"", {})
            assert caught.value.operator
            written(tmp_path, trustme.CA())
            with pytest.raises(Retryable, match="certificate was refused"):
                await client.post(side.url, b"", {})
            written(tmp_path, authority)
            assert (await client.post(side.url, b"", {})).status == 200

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_far_side_that_wants_our_certificate(tmp_path: Path, authority: trustme.CA, version: ssl.TLSVersion) -> None:
    context = server_tls(authority)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    own = authority.issue_cert("agent")
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    trust = written(tmp_path, authority)

    async def main() -> None:
        async with blocking_tls(context) as url:
            error = await failure(url, HttpOptions(ca_file=trust))
            assert error.operator
            assert "alert" in error.reason
            shown = HttpOptions(ca_file=trust, client_cert=tmp_path / "cert.pem", client_key=tmp_path / "key.pem")
            assert (await post(url, shown)).status == 200

    run(main())


@asynccontextmanager
async def blocking_tls(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A server that says with an alert why it refuses; asyncio's own just hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as sock:
                sock.settimeout(5)
                try:
                    sock.do_handshake()
                    sock.recv(65536)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    sock.unwrap()
                except (ssl.SSLError, OSError):
                    # Closing with data unread would overtake the alert with a reset.
                    sock.shutdown(socket.SHUT_WR)
                    with suppress(OSError):
                        while sock.recv(65536):
                            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        await asyncio.to_thread(thread.join)


# Proxies


class Proxy:
    """Tunnels CONNECT for those who know the password."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if "Proxy-Authorization: Basic dTpwYXNzd29yZA==\r\n" not in head:  # u:password
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        host, _, port = head.split(" ")[1].rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


def test_a_proxy_is_used_and_alone_gets_its_password(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        proxy = Proxy()
        async with far_side(answer(), tls=server_tls(authority)) as side, listening(proxy.serve) as port:
            options = HttpOptions(
                ca_file=written(tmp_path, authority),
                proxy=f"http://127.0.0.1:{port}",
                proxy_user="u",
                proxy_password=Secret("password"),
            )
            assert (await post(side.url, options, hide="the far side's key")).status == 200
            assert "proxy-authorization" not in side.requests[0].headers
            assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
            assert "the far side's key" not in proxy.heads[0]

    run(main())


def test_a_proxy_that_refuses_us_is_for_the_operator(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority)) as side, listening(Proxy().serve) as port:
            options = HttpOptions(ca_file=written(tmp_path, authority), proxy=f"http://127.0.0.1:{port}")
            error = await failure(side.url, options)
            assert (error.ambiguous, error.operator, error.status) == (False, True, 407)
            assert error.reason == "the proxy answered 407 Proxy Authentication Required"

    run(main())


def test_plain_http_goes_through_the_proxy_as_a_whole() -> None:
    async def main() -> None:
        async with far_side(answer()) as proxy:
            options = HttpOptions(proxy=proxy.url, proxy_user="u", proxy_password=Secret("password"))
            assert (await post("http://far.example/x", options)).status == 200
            assert proxy.requests[0].line == "POST http://far.example/x HTTP/1.1"
            assert proxy.requests[0].headers["proxy-authorization"] == "Basic dTpwYXNzd29yZA=="

    run(main())


def test_a_proxy_that_is_away_leaves_no_doubt() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        error = await failure("http://far.example", HttpOptions(proxy=f"http://127.0.0.1:{port}"))
        assert (error.ambiguous, error.operator) == (False, False)
        assert "proxy" in error.reason

    run(main())


def test_files_are_read_off_the_loop(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    original = ssl.create_default_context

    def noted(**files: Any) -> ssl.SSLContext:
        threads.add(threading.current_thread())
        return original(**files)

    monkeypatch.setattr(ssl, "create_default_context", noted)

    async def main() -> None:
        side: FarSide
        async with far_side(answer(), tls=server_tls(authority)) as side:
            await post(side.url, HttpOptions(ca_file=written(tmp_path, authority)))
        assert threads
        assert threading.main_thread() not in threads

    run(main())
