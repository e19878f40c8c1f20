"""The status server over real HTTP, and its metrics through a strict reader of the text format."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog
from children import run

from agent.stats import Health, Sample, Stats
from agent.status import server
from agent.status.metrics import exposition
from agent.status.pages import pages
from agent.status.view import View

NASTY = 'a "quoted" \\ back\nslash </script><b>& 한국어'


def agent_as_seen() -> Any:
    return {
        "version": "1.2.3",
        "config_hash": "abc",
        "spool_format": 1,
        "hostname": NASTY,
        "started": 1_700_000_000.0,
        "durability": "strict",
    }


def spool_as_seen(closed: str | None = None) -> Any:
    return {
        "directory": "/var/lib/telemetry-agent",
        "bytes": 1024,
        "max_bytes": 1 << 20,
        "pending_bytes": 0,
        "closed_reason": closed,
        "lanes": {"all": {"first": 10, "head": 110, "bytes": 1024, "segments": 2}},
    }


def view() -> View:
    health, stats = Health(), Stats()
    health.part("spool", "writer").become("up")
    health.part("sink", "lake").become("up")
    health.part("collector", "host").become("up")
    stats.counter("agent_intake_records_total", "Records stored.", collector="host").add(2**60 + 1)
    stats.counter("agent_intake_records_total", "Records stored.", collector=NASTY).add(7)
    stats.gauge("agent_lag_seconds", 'How long; "late" \\ or\nnot.', lambda: 0.1 + 0.2, sink="lake")
    stats.gauge("agent_odd", "Odd values.", lambda: math.inf, which="inf")
    stats.gauge("agent_odd", "Odd values.", lambda: math.nan, which="nan")
    return View(
        agent=agent_as_seen,
        spool=spool_as_seen,
        sinks=lambda: {"lake": {"type": "obsrv", "queued": 3, "lag": 0.5, "ledger": {"delivered": 7}}},
        collectors=lambda: {"host": {"type": "host", "records": 10}},
        withheld=lambda: "",
        health=health,
        stats=stats,
    )


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def say(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def get(port: int, path: str, method: str = "GET", host: str = "127.0.0.1:9465", extra: str = "") -> Reply:
    answer = await say(port, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if method == "GET":
        assert int(headers["content-length"]) == len(body)
    return Reply(int(status), headers, body)


Test = Callable[[int], Awaitable[None]]


def served(shown: View, test: Test, **options: Any) -> None:
    async def main() -> None:
        async with server.serve(pages(shown), "127.0.0.1", 0, **options) as port:
            await test(port)

    asyncio.run(main())


def test_health_is_asked_of_each_thing_by_itself() -> None:
    shown = view()
    state: dict[str, Any] = {"hanging": "", "closed": None}
    shown = replace(shown, withheld=lambda: state["hanging"], spool=lambda: spool_as_seen(state["closed"]))

    async def codes(port: int) -> list[int]:
        return [(await get(port, f"/health/{name}")).status for name in ("live", "ready", "delivery")]

    async def test(port: int) -> None:
        assert await codes(port) == [200, 200, 200]
        shown.health.part("sink", "lake").become("down", "connection refused")
        assert await codes(port) == [200, 200, 503], "a far side that is down is no fault of the agent"
        lake = (await get(port, "/health/delivery")).json()["sinks"]["lake"]
        assert (lake["state"], lake["reason"], lake["queued"], lake["lag"]) == ("down", "connection refused", 3, 0.5)
        assert lake["since"] > 1_700_000_000
        shown.health.part("sink", "lake").become("refusing", "every record: 400")
        assert await codes(port) == [200, 200, 503]
        shown.health.part("sink", "lake").become("up")
        state["closed"] = "no space left on the disk"
        assert await codes(port) == [200, 503, 200]
        assert (await get(port, "/health/ready")).json() == {"ok": False, "reason": "no space left on the disk"}
        state["closed"], state["hanging"] = None, "sink lake"
        assert await codes(port) == [503, 200, 200]
        assert (await get(port, "/health/live")).json() == {"ok": False, "hanging": "sink lake"}

    served(shown, test)


def test_status_json_has_everything() -> None:
    async def test(port: int) -> None:
        reply = await get(port, "/status.json?x=1")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
        assert reply.headers["cache-control"] == "no-store"
        shown = reply.json()
        assert shown["agent"]["hostname"] == NASTY
        assert shown["agent"]["promise"] != ""
        assert shown["agent"]["uptime"] > 0
        assert shown["spool"]["segments"] == 2
        assert shown["spool"]["lanes"]["all"]["head"] == 110
        assert shown["sinks"]["lake"]["state"] == "up"
        assert shown["sinks"]["lake"]["ledger"] == {"delivered": 7}
        assert shown["collectors"]["host"] == {"type": "host", "records": 10, "state": "up", "reason": ""} | {
            "since": shown["collectors"]["host"]["since"]
        }
        assert {part["name"] for part in shown["parts"]} == {"writer", "lake", "host"}

    served(view(), test)


# The text format 0.0.4, as its documentation has it, and nothing besides.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")


@dataclass
class Family:
    kind: str
    help: str
    values: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


def unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def parsed(page: bytes) -> dict[str, Family]:
    """Read a page strictly: HELP and TYPE once each and first, samples of a name together, none twice."""
    families: dict[str, Family] = {}
    current = ""
    text = page.decode("utf-8")
    assert text.endswith("\n")
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            current, meaning = line.removeprefix("# HELP ").split(" ", 1)
            assert re.fullmatch(NAME, current)
            assert current not in families, f"{current} stands in two places"
            assert re.fullmatch(r"(?:[^\\]|\\\\|\\n)*", meaning)
            marker, kind, name, word = next(lines).split(" ")
            assert (marker, kind, name) == ("#", "TYPE", current)
            assert word in ("counter", "gauge")
            families[current] = Family(word, unescaped(meaning))
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, f"not a sample: {line!r}"
        assert match[1] == current, f"{match[1]} among those of {current}"
        pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', match[2] or "")
        labels = tuple((name, unescaped(value)) for name, value in pairs)
        assert len(dict(labels)) == len(labels)
        assert labels not in families[current].values
        assert re.fullmatch(r"NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]\d+)?", match[3]), f"not a number: {match[3]}"
        families[current].values[labels] = float(match[3])
    return families


def test_metrics_are_what_prometheus_reads() -> None:
    async def test(port: int) -> None:
        reply = await get(port, "/metrics")
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = parsed(reply.body)
        info = (("version", "1.2.3"), ("config_hash", "abc"), ("spool_format", "1"))
        assert families["agent_info"].values == {info: 1}
        records = families["agent_intake_records_total"]
        assert (records.kind, records.help) == ("counter", "Records stored.")
        assert records.values[(("collector", NASTY),)] == 7
        assert families["agent_lag_seconds"].help == 'How long; "late" \\ or\nnot.'
        assert families["agent_lag_seconds"].values[(("sink", "lake"),)] == 0.1 + 0.2
        assert families["agent_odd"].values[(("which", "inf"),)] == math.inf
        assert math.isnan(families["agent_odd"].values[(("which", "nan"),)])
        assert families["agent_part_up"].values[(("kind", "sink"), ("name", "lake"))] == 1
        assert str(2**60 + 1).encode() in reply.body, "a counter above 2^53 must not be rounded"

    served(view(), test)


def test_names_that_are_no_prometheus_names_are_made_into_some() -> None:
    families = parsed(
        exposition(
            [
                Sample("agent.odd-name", {"1st": "x", "b-c": "y"}, 1, "gauge", ""),
                Sample("other", {}, -math.inf, "gauge", "Other."),
                Sample("agent.odd-name", {"d": "z"}, 2.5, "gauge", ""),
            ]
        )
    )
    assert families["agent_odd_name"].values == {(("_1st", "x"), ("b_c", "y")): 1, (("d", "z"),): 2.5}


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9465", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]:9465", "status.localhost"],
)
def test_loopback_names_are_served(host: str) -> None:
    async def test(port: int) -> None:
        assert (await get(port, "/health/live", host=host)).status == 200

    served(view(), test)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9465", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "", "[::2]"]
)
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    async def test(port: int) -> None:
        for path in ("/", "/status.json", "/metrics", "/nothing"):
            reply = await get(port, path, host=host)
            assert reply.status == 421
            assert b"lake" not in reply.body

    served(view(), test)


def test_a_name_that_the_operator_allows_is_served() -> None:
    async def test(port: int) -> None:
        assert (await get(port, "/metrics", host="Edge-17.example.net:9465")).status == 200
        assert (await get(port, "/metrics", host="edge-18.example.net")).status == 421

    served(view(), test, names=["edge-17.Example.net"])


def test_beyond_loopback_addresses_are_served_and_names_still_are_not() -> None:
    async def main() -> None:
        async with server.serve(pages(view()), "0.0.0.0", 0) as port:
            assert (await get(port, "/metrics", host="10.1.2.3:9465")).status == 200
            assert (await get(port, "/metrics", host="[fd00::1]:9465")).status == 200
            assert (await get(port, "/metrics", host="evil.example:9465")).status == 421

    asyncio.run(main())


def test_only_get_and_head_are_served() -> None:
    async def test(port: int) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"):
            reply = await get(port, "/status.json", method)
            assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
        head = await get(port, "/metrics", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 100

    served(view(), test)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
    ],
)
def test_what_is_no_plain_request_is_refused(request_: bytes, status: int) -> None:
    async def test(port: int) -> None:
        assert (await say(port, request_)).startswith(f"HTTP/1.1 {status} ".encode())

    served(view(), test)


def test_a_client_that_dawdles_or_goes_away_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SECONDS", 0.2)

    async def test(port: int) -> None:
        assert await say(port, b"GET /metrics HT") == b"", "closed without an answer once the time is over"
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        writer.transport.abort()
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(server.MAX_CONNECTIONS + 8)]
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(reader.read() for reader, _ in crowd)) == [b""] * len(crowd)
        assert (await get(port, "/health/live")).status == 200
        for _, writer in crowd:
            writer.close()

    served(view(), test)


def test_a_page_that_fails_is_said_once_and_the_others_go_on() -> None:
    def broken() -> Any:
        raise RuntimeError("a bug in here: s3cr3t")

    async def test(port: int) -> None:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                reply = await get(port, "/status.json")
                assert reply.status == 500
                assert b"s3cr3t" not in reply.body
        assert [line["event"] for line in logs] == ["a status page failed"]
        assert (await get(port, "/health/ready")).status == 200

    served(replace(view(), sinks=broken), test)


def test_a_client_in_the_middle_of_a_request_does_not_keep_it_from_stopping() -> None:
    async def main() -> None:
        async with asyncio.timeout(3):
            async with server.serve(pages(view()), "127.0.0.1", 0) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.1\r\n")
                await asyncio.sleep(0)
                assert (await get(port, "/health/live")).status == 200
            assert await reader.read() == b""
            writer.close()

    asyncio.run(main())


def test_the_page_needs_nothing_from_elsewhere_and_may_do_nothing_else() -> None:
    async def test(port: int) -> None:
        reply = await get(port, "/")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        page = reply.body.decode()
        policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["connect-src"] == "'self'"
        assert policy["script-src"].startswith("'sha256-")
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert not re.search(r"https?://|//[a-z]|@import|url\(", page), "an outside resource"
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)
        assert 'name="viewport"' in page
        assert " style=" not in page, "the policy allows no inline style"
        assert not re.search(r" on[a-z]+=", page), "nor inline handlers"

    served(view(), test)


def test_the_pages_cost_no_heavy_import() -> None:
    program = "import agent.service, agent.status.pages, sys; print({'aiohttp', 'rich'} & set(sys.modules))"
    assert run(program) == (0, "set()\n", "")
