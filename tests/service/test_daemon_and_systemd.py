"""The whole agent as systemd sees it: a real process, a real datagram socket, real HTTP."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from children import Manager, finish, manager, start
from processes import free_port, get, wait_for

LIMIT = 0.5  # seconds; systemd's WATCHDOG_USEC

# Nobody listens on port 1: broker and far side are down from the start.
CONFIG = """
[agent]
hostname = "edge"
stop_grace = "1s"
[spool]
directory = "{state}"
[status]
listen = "127.0.0.1:{port}"
[collectors.host]
type = "host"
interval = "1s"
[collectors.plant]
type = "mqtt"
url = "mqtt://127.0.0.1:1"
[[collectors.plant.subscription]]
topic = "plant/#"
[sinks.lake]
type = "obsrv"
url = "http://127.0.0.1:1"
dataset = "d"
"""

# A disk that stops answering: from SIGUSR1 on, no sync of a file returns.
HANGING_DISK = """
import os, signal, sys, time
from pathlib import Path
sync = os.fdatasync
def hang(*_):
    os.fdatasync = lambda fd: time.sleep(60)
signal.signal(signal.SIGUSR1, hang)
os.fdatasync = lambda fd: sync(fd)
from agent.service.daemon import daemon
sys.exit(daemon([Path({config!r})]))
"""


def configured(folder: Path) -> tuple[Path, int]:
    port = free_port()
    config = folder / "agent.toml"
    config.write_text(CONFIG.format(state=folder / "state", port=port))
    return config, port


def running(config: Path, systemd: Manager, program: str = HANGING_DISK) -> subprocess.Popen[str]:
    return start(program.format(config=str(config)), NOTIFY_SOCKET=systemd.address, WATCHDOG_USEC=str(int(LIMIT * 1e6)))


def heard(systemd: Manager, wanted: Callable[[str], bool], timeout: float = 15.0) -> str:
    """The next datagram that fits; the watchdog's come in between."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        text = systemd.hear(max(0.01, deadline - time.monotonic()))
        if wanted(text):
            return text
    raise AssertionError(f"not heard within {timeout} s")


def test_an_outage_of_broker_and_sinks_restarts_nothing(tmp_path: Path) -> None:
    config, port = configured(tmp_path)
    with manager() as systemd:
        agent = running(config, systemd)
        try:
            ready = heard(systemd, lambda text: text.startswith("READY=1"))
            assert "STATUS=" in ready
            fed, end = 0, time.monotonic() + 10 * LIMIT
            while time.monotonic() < end:
                fed += systemd.hear(10) == "WATCHDOG=1"
            assert fed >= 15
            assert agent.poll() is None
            assert get(f"http://127.0.0.1:{port}/health/live")[0] == 200
            assert get(f"http://127.0.0.1:{port}/health/ready")[0] == 200
            code, body = get(f"http://127.0.0.1:{port}/health/delivery")
            assert (code, json.loads(body)["sinks"]["lake"]["state"]) == (503, "down")

            agent.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in heard(systemd, lambda text: text.startswith("RELOADING=1"))
            heard(systemd, lambda text: text.startswith("READY=1"))
            agent.send_signal(signal.SIGTERM)
            heard(systemd, lambda text: text.startswith("STOPPING=1"))
            code, _, err = finish(agent)
            assert code == 0, err
        finally:
            agent.kill()
            agent.communicate()


def test_a_hung_writer_is_not_fed_for_and_is_named(tmp_path: Path) -> None:
    config, port = configured(tmp_path)
    with manager() as systemd:
        agent = running(config, systemd)
        try:
            heard(systemd, lambda text: text.startswith("READY=1"))
            heard(systemd, lambda text: text == "WATCHDOG=1")
            agent.send_signal(signal.SIGUSR1)
            live = f"http://127.0.0.1:{port}/health/live"
            wait_for("the hang to be seen", lambda: get(live)[0] == 503)
            assert "spool writer" in json.loads(get(live)[1])["hanging"]
            while True:  # what was sent before the hang was seen
                try:
                    systemd.hear(2 * LIMIT)
                except TimeoutError:
                    break
            # systemd's patience ends here.
            agent.send_signal(signal.SIGABRT)
            code, _, err = finish(agent)
            assert code == -signal.SIGABRT
            assert "a part hangs, the watchdog is not fed" in err
            assert "spool writer" in err
            assert "Current thread" in err, "the threads say where they stand"
        finally:
            agent.kill()
            agent.communicate()


def test_a_wrong_configuration_ends_it_with_78_and_every_mistake(tmp_path: Path) -> None:
    config, _ = configured(tmp_path)
    config.write_text(config.read_text().replace('"1s"', '"soon"'))
    with manager() as systemd:
        began = time.monotonic()
        code, _, err = finish(running(config, systemd))
        assert code == 78, err
        assert time.monotonic() - began < 5
        assert "agent.stop_grace" in err
        assert "collectors.host.interval" in err


def test_a_port_that_is_taken_ends_it_with_69_and_says_what_to_change(tmp_path: Path) -> None:
    config, port = configured(tmp_path)
    with manager() as systemd, socket.create_server(("127.0.0.1", port)):
        code, _, err = finish(running(config, systemd))
    assert code == 69, err
    text = f"status.listen: 127.0.0.1:{port} is taken by another process; choose another, or [status] enabled = false"
    assert text in err


def test_the_service_loads_nothing_that_prints_for_people(tmp_path: Path) -> None:
    config, _ = configured(tmp_path)
    program = """
import sys, threading, os, signal, time
def look():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)  # until the service answers signals
    print(sorted({{"rich", "typer", "click", "pydantic", "prometheus_client"}} & set(sys.modules)), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=look, daemon=True).start()
sys.argv = ["telemetry-agent", "run", "--config", {config!r}]
from agent.__main__ import main
main()
"""
    with manager() as systemd:
        code, out, err = finish(running(config, systemd, program))
        assert (code, out) == (0, "[]\n"), err


def test_a_start_over_stored_records_asks_systemd_for_the_time_it_takes(tmp_path: Path) -> None:
    config, _ = configured(tmp_path)
    shutil.copytree(Path(__file__).parent.parent / "data" / "state-v1", tmp_path / "state")
    with manager() as systemd:
        agent = running(config, systemd)
        try:
            first = heard(systemd, lambda text: text.startswith(("EXTEND_TIMEOUT_USEC=", "READY=1")))
            assert first == "EXTEND_TIMEOUT_USEC=60000000"
            assert "recovering lane" in heard(systemd, lambda text: text.startswith("STATUS="))
            heard(systemd, lambda text: text.startswith("READY=1"))
        finally:
            agent.kill()
            agent.communicate()
