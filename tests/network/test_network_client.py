"""The one HTTP client on networks as they are: proxies, IPv6, names that move, more than one address of our own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from far_side import answer, far_side, listening, run
from tunnel import proxy

from agent.errors import Retryable
from agent.http import Answer, HttpOptions, open_client, option_problems

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def ca_file(folder: Path, authority: trustme.CA) -> Path:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def post(url: str, **options: Any) -> Answer:
    async with open_client(HttpOptions(**options)) as client:
        return await client.post(url, b"{}", {"Content-Type": "application/json"})


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_tls_goes_through_a_tunnel_and_the_name_is_the_proxys_to_find(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority, "far.example")) as side:
            async with proxy(leads_to=("127.0.0.1", port_of(side.url))) as through:
                said = await post("https://far.example/x", proxy=through.url, ca_file=ca_file(tmp_path, authority))
            assert said.status == 200
            assert through.asked == ["CONNECT far.example:443 HTTP/1.1"]
            assert [request.line for request in side.requests] == ["POST /x HTTP/1.1"]
            assert "proxy-authorization" not in side.requests[0].headers

    run(main())


def test_the_environment_names_the_proxy_only_where_it_is_asked_for(
    tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with (
            far_side(answer(), tls=server_tls(authority, "127.0.0.1")) as side,
            proxy(login="Basic dTpwQHNz") as through,
        ):
            trusted = ca_file(tmp_path, authority)
            monkeypatch.setenv("HTTPS_PROXY", through.url.replace("//", "//u:p%40ss@"))
            assert (await post(side.url, ca_file=trusted)).status == 200
            assert through.asked == []
            assert (await post(side.url, ca_file=trusted, proxy="environment")).status == 200
            assert through.asked == [f"CONNECT 127.0.0.1:{port_of(side.url)} HTTP/1.1"]
            monkeypatch.setenv("NO_PROXY", "example.net,127.0.0.1")
            assert (await post(side.url, ca_file=trusted, proxy="environment")).status == 200
            assert len(through.asked) == 1

    run(main())


def test_a_proxy_that_wants_a_login_is_a_persons_business(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with proxy(login="Basic x") as through:
            with pytest.raises(Retryable, match="407") as caught:
                await post("https://far.example", proxy=through.url, ca_file=ca_file(tmp_path, authority))
            assert caught.value.operator

    run(main())


def test_an_ipv6_literal_is_all_that_is_needed(tmp_path: Path, authority: trustme.CA) -> None:
    async def main() -> None:
        async with far_side(answer(), tls=server_tls(authority, "::1"), address="::1") as side:
            assert side.url.startswith("https://[::1]:")
            async with proxy(host="::1") as through:
                trusted = ca_file(tmp_path, authority)
                assert (await post(side.url + "/direct", ca_file=trusted)).status == 200
                assert (await post(side.url + "/through", ca_file=trusted, proxy=through.url)).status == 200
            assert [request.target for request in side.requests] == ["/direct", "/through"]
            assert side.requests[0].headers["host"].startswith("[::1]:")
            assert through.asked == [f"CONNECT [::1]:{port_of(side.url)} HTTP/1.1"]

    run(main())


def test_a_name_that_moves_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name service is the only thing scripted here: the far sides are real."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        where = ["127.0.0.1"]

        async def look_up(host: str, port: int, **more: Any) -> list[Any]:
            assert host == "moving.example"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where[0], port))]

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        async with AsyncExitStack() as first, open_client(HttpOptions(), keepalive=0.01) as client:
            old = await first.enter_async_context(far_side(answer()))
            port = port_of(old.url)
            url = f"http://moving.example:{port}"
            assert (await client.post(url, b"", {})).status == 200
            await first.aclose()
            where[0] = "127.0.0.2"
            async with far_side(answer(), address="127.0.0.2", port=port) as new:
                with suppress(Retryable):  # the old address, at most once
                    await client.post(url, b"", {})
                await client.post(url, b"", {})
                assert new.requests

    run(main())


def test_requests_leave_from_the_address_that_is_pinned() -> None:
    async def main() -> None:
        peers = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(writer.get_extra_info("peername")[0])
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        async with listening(serve) as port:
            await post(f"http://127.0.0.1:{port}", source_address="127.0.0.9")
            await post(f"http://127.0.0.1:{port}")
        assert peers == ["127.0.0.9", "127.0.0.1"]
        with pytest.raises(Retryable, match="cannot connect"):
            await post("http://127.0.0.1:9", source_address="192.0.2.1")  # an address we do not have

    run(main())


def test_the_target_goes_out_to_the_byte_as_it_was_signed() -> None:
    target = "/a//b/%7e/c?x=%3A:/+%20&empty=&k=%ED%95%9C&q=a%2Fb/c"

    async def main() -> None:
        async with far_side(answer()) as side, open_client(HttpOptions()) as client:
            await client.get(side.url + target, {})
            assert side.requests[0].line == f"GET {target} HTTP/1.1"

    run(main())


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"source_address": "eth0"}, "source_address"),
        ({"proxy": "environment", "proxy_user": "u"}, "proxy_user"),
        ({"proxy": "socks5://x"}, "proxy"),
    ],
)
def test_what_cannot_work_is_named(options: dict[str, str], place: str) -> None:
    assert [name for name, _ in option_problems(HttpOptions(**options))] == [place]  # type: ignore[arg-type]
