"""
A whole agent with a canary in every place that a secret can stand in, in front of far sides that repeat what they are
sent: what the run writes anywhere, and what is shown of it, holds none.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import quote

import pytest
import trustme
from mqtt.scripted_broker import packet, text
from processes import AgentProcess, get, wait_for
from service.children import Manager
from service.children import manager as managing

# What every canary holds, whatever is escaped around it.
MARK = "CaNaRy"
# Characters that JSON, URLs and repr write otherwise; all can stand in a header.
ODD = "/+=\"\\%'<&"
STATUSES = (200, 302, 400, 401, 403, 404, 413, 429, 500, 503)
FORMS = ("plain", "json", "php", "url")


COMMANDS = (
    ("check",),
    ("check", "--print"),
    ("dead-letters", "list", "--json"),
    ("dead-letters", "replay", "--sink", "lake-400-php"),
    ("verify-delivery", "lake-401-json"),
)


def canary(name: str) -> str:
    return f"{MARK}-{name}{ODD}{name}"


SECRETS = {
    name: canary(name)
    for name in ("token", "access", "secret", "apikey", "issued", "proxy", "mqtt", "variable", "credential", "rotated")
}


def _echo(request: str, form: str) -> str:
    match form:
        case "json":
            return json.dumps(request)
        case "php":
            return json.dumps(request).replace("/", "\\/")
        case "url":
            return quote(request, safe="")
        case _:
            return request


class _Echo(BaseHTTPRequestHandler):
    """Answers /STATUS-FORM/... with that status, and with the request in that form; /tokens with a token."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # A proxy is asked with the whole URL.
        path = self.path.removeprefix("http://").partition("/")[2] if self.path.startswith("http") else self.path[1:]
        status, _, form = path.partition("/")[0].partition("-")
        if status == "cw_collector":  # a gateway has no path of its own: the schema's key says which form
            number = int(json.loads(body)["cw_key"])
            status, form = ("200", "401", "500", "403")[number], FORMS[number]
        elif status == "api":  # of Data Flow: the job's id says it
            status, _, form = path.split("/")[3].partition("-")
        shown = _echo("".join(f"{value} " for value in self.headers.values()) + body.decode("latin-1"), form)
        code, said = int(status), shown
        if path.endswith("/tokens") and form == "given":
            code, said = 200, json.dumps({"access": {"token": {"id": SECRETS["issued"]}}})
        elif status == "400":
            said = json.dumps({"error": {"code": "DATA_INGESTION_INVALID_INPUT", "message": shown}})
            code = 400 if b"self.spool" in body else 200  # others are taken, so that these are to blame
            said = said if code == 400 else '{"responseCode":"OK"}'
        data = said.encode("latin-1", "replace")
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Echo", quote(shown[:200]))
        self.send_header(
            "x-ncp-trace-id", shown[:300].replace("\r", " ").replace("\n", " ").encode("ascii", "replace").decode()
        )
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST  # noqa: N815 the names are http.server's

    def log_message(self, *_: object) -> None:
        pass


class _Broker(StreamRequestHandler):
    """Refuses whoever connects, and repeats the password in the reason that MQTT 5 has room for."""

    def handle(self) -> None:
        self.request.recv(4096)
        reason = text(f"no user of the password {SECRETS['mqtt']}\x1b[31m\r\nforged=1")
        self.request.sendall(packet(0x20, b"\0\x86" + bytes([len(reason) + 1]) + b"\x1f" + reason))


@contextlib.contextmanager
def _serving(server: ThreadingTCPServer) -> Iterator[int]:
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients that go, handshakes that fail
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def _untrusted(folder: Path) -> Iterator[int]:
    """TLS with a certificate that nobody vouches for."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server) as port:
        yield port


def _toml(value: str) -> str:
    return json.dumps(value)


def _sink(name: str, kind: str, **options: str) -> str:
    """A sink's table; `options` as they are written in TOML."""
    lines = {"type": f'"{kind}"', "timeout": '"5s"', "connect_timeout": '"2s"', **options}
    return "\n".join([f"[sinks.{name}]", *(f"{key} = {value}" for key, value in lines.items())])


def _config(folder: Path, port: int, broker: int, tls: int) -> str:
    for name in ("access", "apikey", "mqtt"):
        (folder / name).write_text(SECRETS[name] + "\n")
    far, token = f"http://127.0.0.1:{port}", _toml(SECRETS["token"])
    tokens = [token, '"${VARIABLE}"', '"credential:lake"']
    proxy = {"proxy": f'"{far}"', "proxy_user": '"agent"', "proxy_password": _toml(SECRETS["proxy"])}
    lake = {"dataset": '"d"', "gzip": "false"}
    pair = {"access_key_file": f'"{folder}/access"', "secret_key": _toml(SECRETS["secret"])}
    keys = {**pair, "rollup": '"0s"'}
    notes = {"tenant": '"1"', "username": '"u"', "select": '"*"', "api_key_file": f'"{folder}/apikey"'}
    tables = [HEAD, COLLECTOR.replace("@PORT@", str(broker)).replace("@PASSWORD@", f"{folder}/mqtt")]
    # Every status in two forms, every form with half of the statuses.
    every = [f"{status}-{form}" for n, status in enumerate(STATUSES) for form in FORMS[n % 2 :: 2]]
    tables += [
        _sink(f"lake-{each}", "obsrv", url=f'"{far}/{each}"', token=tokens[n % 3], **lake)
        for n, each in enumerate(every)
    ]
    for n, form in enumerate(FORMS):
        tables += [
            _sink(f"insight-{form}", "cloud_insight", url=f'"{far}"', **keys),
            f'[[sinks.insight-{form}.schema]]\ncw_key = "{n}"\nmetrics = {{ v = "bytes" }}',
            _sink(f"notes-{form}", "rackspace", identity_url=f'"{far}/401-{form}"', **notes),
            _sink(f"hosted-{form}", "rackspace", identity_url=f'"{far}/401-given"', url=f'"{far}/401-{form}"', **notes),
            # The far side takes the bucket for its orders.
            _sink(f"store-{form}", "object_storage", url=f'"{far}"', bucket=f'"401-{form}"', **pair),
            _sink(f"proxied-{form}", "obsrv", url=f'"http://h.localhost/401-{form}"', **lake, **proxy),
        ]
    tables += [
        _sink("tls", "obsrv", url=f'"https://127.0.0.1:{tls}"', token=token, **lake),
        _sink("tunnel", "obsrv", url='"https://h.localhost"', token=token, **lake, **proxy),
        _sink("bug", "obsrv", url=f'"{far}"', token=token, dataset='"bug"'),
        "\n".join(["[ncloud]", f'url = "{far}"', *(f"{key} = {value}" for key, value in pair.items())]),
    ]
    tables += [
        f'[[dataflow]]\nname = "{form}"\nsink = "store-{form}"\njob = "{status}-{form}"\nevery = "1s"'
        for form, status in zip(FORMS, (401, 401, 403, 403), strict=True)
    ]
    return "\n".join(tables)


HEAD = """
[agent]
hostname = "edge"
role = "leader"
lifecycle_events = ["start", "outage"]
lifecycle_jitter = "0s"
stop_grace = "0s"
[log]
level = "debug"
format = "@FORMAT@"
[collectors.own]
type = "self"
interval = "1s"
"""
COLLECTOR = """
[collectors.plant]
type = "mqtt"
url = "mqtt://127.0.0.1:@PORT@"
username = "agent"
password_file = "@PASSWORD@"
[[collectors.plant.subscription]]
topic = "a/#"
"""

# A bug of ours, whose traceback quotes the token: put into the child, where the sink named `bug` meets it.
_BUG = """
from agent.sinks.obsrv.sink import Obsrv
posted = Obsrv._post
async def post(self, client, target, body, headers, token):
    if self.dataset == "bug":
        raise RuntimeError(f"{headers!r} {token!r} {token}")
    return await posted(self, client, target, body, headers, token)
Obsrv._post = post
"""


def _leaks(data: bytes) -> list[str]:
    """Where a canary stands in it: as it is, or in one of the forms in which it is not seen at once."""
    forms = {name: [MARK.encode(), MARK.lower().encode()] for name in ("plain",)}
    for name, secret in SECRETS.items():
        words = (secret, f"agent:{secret}", f"u:{secret}")
        forms[name] = [b64encode(word.encode()).rstrip(b"=") for word in words]
    found = []
    for name, some in forms.items():
        for form in some:
            at = data.find(form)
            if at >= 0:
                found.append(f"{name}: ...{data[max(0, at - 120) : at + 80]!r}...")
    return found


@pytest.mark.timeout(240)  # seventy sinks on a busy machine
# What differs is how a line is written, and tests/service/test_logs.py has that for both.
@pytest.mark.parametrize("form", ["text", pytest.param("json", marks=pytest.mark.soak)])
def test_no_secret_reaches_anything_that_the_run_writes_or_shows(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "secrets"
    (tmp_path / "python").mkdir()
    (tmp_path / "credentials").mkdir()
    folder.mkdir()
    (tmp_path / "credentials" / "lake").write_text(SECRETS["credential"])
    (tmp_path / "python" / "sitecustomize.py").write_text(_BUG)
    env = {
        "VARIABLE": SECRETS["variable"],
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "PYTHONPATH": str(tmp_path / "python"),
    }
    shown: dict[str, bytes] = {}
    with (
        managing(abstract=True) as manager,
        _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Echo)) as port,
        _serving(ThreadingTCPServer(("127.0.0.1", 0), _Broker)) as broker,
        _untrusted(tmp_path) as tls,
    ):
        env["NOTIFY_SOCKET"] = manager.address
        config = _config(folder, port, broker, tls).replace("@FORMAT@", form)
        with AgentProcess(tmp_path / "agent", config, env) as agent:
            agent.start()
            wait_for("every sink to have met its trouble", lambda: _all_tried(agent), 80)
            wait_for("dead letters", lambda: any(agent.state.glob("dead-letters/*.ndjson")))
            for page in ("/", "/status.json", "/metrics", "/health/delivery", "/health/ready"):
                shown[page] = get(f"http://127.0.0.1:{agent.port}{page}")[1]
            wait_for("the bug to be logged", lambda: "RuntimeError" in agent.text())
            # A reload with mistakes, one of them a secret where none belongs; then one with another secret.
            _reload(
                agent, config + f'\n[sinks.x]\ntype = "obsrv"\nurl = {_toml("https://u:" + SECRETS["token"] + "@h")}\n'
            )
            wait_for("the mistake", lambda: "not reloaded" in agent.text())
            _reload(agent, config.replace(_toml(SECRETS["token"]), _toml(SECRETS["rotated"])))
            wait_for("the reload", lambda: "reloaded" in agent.text().replace("not reloaded", ""))
            wait_for("the sinks with another token to be refused", lambda: _is_refused(agent, "lake-401-json"), 80)
            shown["/status.json again"] = get(f"http://127.0.0.1:{agent.port}/status.json")[1]
            for command in COMMANDS if form == "text" else ():
                done = agent.command(*command)
                shown[" ".join(command)] = (done.stdout + done.stderr).encode()
            agent.stop()
        shown["systemd"] = b"".join(_heard(manager))
    for path in sorted((tmp_path / "agent").rglob("*")):
        if path.is_file() and path != agent.config:
            shown[str(path.relative_to(tmp_path))] = path.read_bytes()
    assert b"STATUS=" in shown["systemd"]
    assert len(shown) > 20
    # The canaries did arrive: what is looked for could have been found.
    leaks = {name: found for name, data in shown.items() if (found := _leaks(data))}
    assert leaks == {}


def _all_tried(agent: AgentProcess) -> bool:
    code, body = get(f"http://127.0.0.1:{agent.port}/status.json")
    if code != 200:
        return False
    seen = json.loads(body)
    states = {sink["state"] for sink in seen["sinks"].values()}
    return states <= {"up", "down", "refusing"} and all(rule["reason"] for rule in seen["dataflow"].values())


def _is_refused(agent: AgentProcess, sink: str) -> bool:
    code, body = get(f"http://127.0.0.1:{agent.port}/status.json")
    return code == 200 and json.loads(body)["sinks"][sink]["state"] in ("down", "refusing")


def _reload(agent: AgentProcess, config: str) -> None:
    agent.configure(config)
    assert agent.child is not None
    agent.child.send_signal(signal.SIGHUP)


def _heard(manager: Manager) -> Iterator[bytes]:
    with contextlib.suppress(TimeoutError, BlockingIOError):
        while True:
            yield manager.hear(0.05).encode()
