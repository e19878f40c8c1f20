"""Payloads, topics, a host's name and the words of far sides end as data: in no log line, page, header or file name."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from mqtt.scripted_broker import packet, text
from processes import AgentProcess, get, wait_for
from service.children import run

CONTROLS = "\x1b[31m\x1b]0;title\x07\r\nX-Forged: 1\r\n\x7f\x9b2J\u202e\u2028\u0085"
NASTY = f'a"b\\c</script><img src=x>{{tags.host}}{CONTROLS}end'
HOST = f"edge{NASTY}"
TOPICS = [
    "t/../../../etc/passwd",
    "t/nul\0nul",
    "t/%2e%2e/%00",
    f"t/{CONTROLS}",
    "t/${HOME}/$(id)",
    "t/\u202e/x",
    "t/" + "d/" * 200,
]
HEADERS = {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "authorization"}


class _Broker(StreamRequestHandler):
    """Takes the agent in, and publishes what nobody should; a payload in two is no JSON."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(packet(0x20, b"\0\0\0"))
        asked = self.request.recv(4096)
        self.request.sendall(packet(0x90, asked[2:4] + b"\0\1"))
        payloads = (json.dumps({"v": NASTY, NASTY: 1}).encode(), f"no JSON {NASTY}".encode())
        for number, (topic, payload) in enumerate(((each, one) for each in TOPICS for one in payloads), 1):
            self.request.sendall(packet(0x32, text(topic) + number.to_bytes(2, "big") + b"\0" + payload))
        while self.request.recv(4096):
            self.request.sendall(packet(0xD0, b""))


class _Far(BaseHTTPRequestHandler):
    """Refuses in words that would move a cursor, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]] = []  # noqa: RUF012 of one test at a time

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        data = json.dumps({"error": {"code": "x", "message": NASTY}}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _serving(server: ThreadingTCPServer) -> Iterator[int]:
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # the agent has gone
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


CONFIG = """
[agent]
hostname = @HOST@
stop_grace = "0s"
[agent.tags]
note = @NASTY@
[log]
level = "debug"
format = "@FORM@"
[collectors.plant]
type = "mqtt"
url = "mqtt://127.0.0.1:@BROKER@"
[[collectors.plant.subscription]]
topic = "t/{rest#}"
tag_keys = ["v"]
[sinks.out]
type = "file"
path = "@OUT@"
[sinks.lake]
type = "obsrv"
url = "http://127.0.0.1:@FAR@"
dataset = @NASTY@
token = "t0ken"
gzip = false
[sinks.notes]
type = "rackspace"
select = "*"
tenant = "1"
url = "http://127.0.0.1:@FAR@"
escape = "json"
"""


def _config(**places: object) -> str:
    text = CONFIG
    for name, value in {"host": json.dumps(HOST), "nasty": json.dumps(NASTY), **places}.items():
        text = text.replace(f"@{name.upper()}@", str(value))
    return text.replace("\x7f", "\\u007f")  # which TOML wants escaped


def _controls(shown: str) -> list[str]:
    """What moves a cursor or turns a line around, line breaks apart."""
    return re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_comes_in_stays_data_wherever_it_comes_out(tmp_path: Path, form: str) -> None:
    _Far.seen.clear()
    out = tmp_path / "out.ndjson"
    with (
        _serving(ThreadingTCPServer(("127.0.0.1", 0), _Broker)) as broker,
        _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Far)) as far,
        AgentProcess(tmp_path / "agent", _config(broker=broker, far=far, out=out, form=form)) as agent,
    ):
        agent.start()
        wait_for("the records", lambda: out.exists() and out.read_bytes().count(b"\n") >= len(TOPICS))
        wait_for("the letters", lambda: len(_letters(agent)) >= len(TOPICS))
        wait_for("both to be refused", lambda: {path.split("/")[1] for path, _ in _Far.seen} == {"v2", "v2.0"})
        wait_for("it to be said", lambda: agent.text().count("sink down") + agent.text().count("refus") >= 2)
        pages = {page: get(f"http://127.0.0.1:{agent.port}{page}") for page in ("/metrics", "/status.json", "/")}
        one = f"at-{_letters(agent)[0]['at']}"
        commands = (("dead-letters", "list"), ("dead-letters", "show", one), ("check",)) if form == "text" else ()
        shown = [agent.command(*command, check=True).stdout for command in commands]
        assert agent.stop() == 0
    _the_log_is_lines(agent.text(), form)
    for each in shown:
        assert _controls(each) == [], each
    assert pages["/metrics"][0] == 200
    for line in pages["/metrics"][1].decode().splitlines():
        assert re.fullmatch(r'#.*|\w+(\{(\w+="([^"\\\n]|\\.)*",?)*\})? \S+', line), line
    assert json.loads(pages["/status.json"][1])["agent"]["hostname"] == HOST
    assert NASTY[:8].encode() not in pages["/"][1]  # the page is always the same: its script puts in text, never markup
    for path, headers in _Far.seen:
        assert set(headers) <= HEADERS
        assert re.fullmatch(r"/[\w/.%~-]+", path), path
    records = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert {record["tags"]["topic"] for record in records} == set(TOPICS)
    assert {record["tags"]["v"] for record in records} == {NASTY}
    assert {record["tags"]["host"] for record in records} == {HOST}
    names = [str(path.relative_to(agent.state)) for path in agent.state.rglob("*")]
    assert all(re.fullmatch(r"[\w./-]+", name) for name in names), names
    assert not any(word in name for name in names for word in ("passwd", "nul", "etc", "%"))
    assert {path.name for path in tmp_path.iterdir()} == {"agent", "out.ndjson", "out.ndjson.batches"}


def _letters(agent: AgentProcess) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in agent.state.glob("dead-letters/*.ndjson")
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]


def _the_log_is_lines(log: str, form: str) -> None:
    """Every line is one that the agent wrote, whole, and holds nothing that a terminal would obey."""
    assert _controls(log) == []
    lines = log.splitlines()
    assert len(lines) > 5
    for line in lines:
        if form == "json":
            assert json.loads(line)["level"]
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT\S+ (debug|info|warning|error) |  ", line), line
        assert not line.startswith("X-Forged")


_BAD_TEXT = """
from agent.service.logs import setup_logging
setup_logging("info", "json")
import mqtt5
try:
    mqtt5.read(memoryview(b"\\x30\\x05\\x00\\x02\\xff\\xfe\\x00"))
except BaseException as panic:
    assert type(panic).__module__ == "pyo3_runtime"
"""


def test_what_the_codec_raises_where_nobody_catches_it_is_a_line_of_the_log() -> None:
    code, _, said = run(_BAD_TEXT)
    assert code == 0
    assert "Traceback" not in said
    (line,) = [json.loads(each) for each in said.splitlines() if each.startswith("{")]
    assert line["level"] == "warning"
    assert line["reason"].startswith("UnicodeDecodeError")
