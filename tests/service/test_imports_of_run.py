"""What `run` loads: memory is decided by imports, so every package on the list below is there for a reason."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from brokers import iotcore
from children import finish, start
from processes import free_port, get, wait_for

# What host metrics and MQTT 5 into Obsrv may load, the packages that these need in turn included.
ALLOWED = {
    "agent",
    *(
        "aiohttp",
        "aiohappyeyeballs",
        "aiosignal",
        "attr",
        "attrs",
        "frozenlist",
        "multidict",
        "propcache",
        "yarl",
        "idna",
    ),
    *("isal", "mqtt5", "msgspec", "orjson", "psutil", "structlog", "typing_extensions"),
}
# Of these each costs between 1 and 10 MB, or belongs to other commands, to tests or to MQTT 3.1.1.
NEVER = ("typer", "rich", "click", "aiomqtt", "paho", "hypothesis", "iotcore", "aiohttp.web", "agent.sandbox")

# The command as it is, with a list of what it has loaded by its end. What has no spec was not imported:
# Cython makes such modules for its own use.
PROGRAM = """
import atexit, sys
from pathlib import Path
before = set(sys.modules)
def report():
    loaded = {{name for name, module in sys.modules.items() if getattr(module, "__spec__", None) is not None}}
    Path({report!r}).write_text("\\n".join(sorted(loaded - before)))
atexit.register(report)
sys.argv = ["telemetry-agent", "run", "--config", {config!r}]
from agent.__main__ import main
main()
"""

CONFIG = """
[agent]
hostname = "edge"
[spool]
directory = "{state}"
[status]
listen = "127.0.0.1:{port}"
[collectors.host]
type = "host"
interval = "1s"
[collectors.plant]
type = "mqtt"
url = "{broker}"
protocol = "{protocol}"
[[collectors.plant.subscription]]
topic = "plant/#"
[sinks.lake]
type = "obsrv"
url = "{far}"
dataset = "d"
"""


class _TakesAll(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"params":{"status":"SUCCESS"},"responseCode":"OK"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def far_side() -> Iterator[str]:
    """Something that takes every batch."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TakesAll)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def modules_of_run(folder: Path, protocol: Literal["5", "3.1.1"]) -> set[str]:
    """What an agent has loaded that was connected to its broker and has delivered."""
    port, config, report = free_port(), folder / "agent.toml", folder / "modules"
    with iotcore(folder, protocol) as broker, far_side() as far:
        config.write_text(
            CONFIG.format(state=folder / "state", port=port, broker=broker.url, protocol=protocol, far=far)
        )
        child = start(PROGRAM.format(report=str(report), config=str(config)))
        try:
            wait_for("a delivery", lambda: _is_at_work(port))
        finally:
            child.send_signal(signal.SIGTERM)
            status, _, said = finish(child)
    assert status == 0, said
    return set(report.read_text().split())


def _is_at_work(port: int) -> bool:
    code, body = get(f"http://127.0.0.1:{port}/status.json")
    if code != 200:
        return False
    status = json.loads(body)
    return status["collectors"]["plant"]["state"] == "up" and status["sinks"]["lake"]["ledger"]["delivered"] > 0


def foreign(modules: set[str]) -> set[str]:
    """The packages among them that are not Python's own."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return modules_of_run(tmp_path_factory.mktemp("five"), "5")


def test_run_loads_nothing_that_other_commands_or_protocols_need(modules: set[str]) -> None:
    assert not [name for name in NEVER if name in modules]


def test_run_loads_no_package_that_is_not_on_the_list(modules: set[str]) -> None:
    assert foreign(modules) <= ALLOWED
    assert {"agent", "aiohttp", "mqtt5", "msgspec", "structlog"} <= foreign(modules), (
        "the test looks at the wrong thing"
    )


def test_only_mqtt_3_1_1_loads_aiomqtt(tmp_path: Path) -> None:
    loaded = foreign(modules_of_run(tmp_path, "3.1.1"))
    assert "aiomqtt" in loaded
    assert "mqtt5" not in loaded
