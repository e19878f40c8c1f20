"""
Real brokers for the tests, each a process of its own on a free port of 127.0.0.1.

    with mosquitto(tmp_path, "lines of its configuration") as broker:
        broker.url, broker.port
        broker.kill()      # kill -9, as a crash would
        broker.start()     # again on the same port, with the same persistence

Mosquitto (both versions) comes from Debian; iotcore (rumqttd: MQTT 5 and 3.1.1) and amqtt (3.1.1) from PyPI.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
MOSQUITTO_PASSWD = shutil.which("mosquitto_passwd")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Broker:
    """A broker's process."""

    name: str
    port: int
    command: Sequence[str]
    log: Path
    scheme: str = "mqtt"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self, timeout: float = 10.0) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as out:
            # Its own process group: what a test kills is this broker and nothing else.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once:\n{self.output()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=0.5):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen:\n{self.output()}")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop, as systemd would."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """Let a hanging one go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@contextlib.contextmanager
def _running(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def need_mosquitto() -> None:
    """Skip the test, loudly, where there is no Mosquitto; fail it in CI."""
    if MOSQUITTO is None:
        missing = "mosquitto is missing, and much of MQTT goes untested: apt-get install mosquitto"
        if os.environ.get("CI"):
            pytest.fail(missing)
        sys.stderr.write(f"\n*** {missing} ***\n")
        pytest.skip(missing)


@contextlib.contextmanager
def mosquitto(
    directory: Path,
    conf: str = "",
    *,
    port: int | None = None,
    anonymous: bool = True,
    listener: str = "",
    autosave: bool = True,
) -> Iterator[Broker]:
    """
    Mosquitto with these configuration lines; `listener` lines belong to the listener.

    What is persistent is saved at every change, so that a kill -9 forgets nothing; `autosave` False spares that.
    """
    need_mosquitto()
    assert MOSQUITTO is not None
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    path = directory / "mosquitto.conf"
    path.write_text(
        # As root it would become the user mosquitto, who may not write here.
        (f"user {_user()}\n" if os.geteuid() == 0 else "")
        + f"per_listener_settings false\nallow_anonymous {str(anonymous).lower()}\n"
        + f"persistence true\npersistence_location {directory}/\nautosave_on_changes {str(autosave).lower()}\n"
        + ("autosave_interval 1\n" if autosave else "")
        + f"log_type error\nlog_type warning\nlog_type notice\n{conf}\n"
        + f"listener {port} 127.0.0.1\n{listener}\n"
    )
    with _running(Broker("mosquitto", port, [MOSQUITTO, "-c", str(path)], directory / "mosquitto.log")) as broker:
        yield broker


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


@contextlib.contextmanager
def iotcore(
    directory: Path,
    version: Literal["5", "3.1.1"] = "5",
    *,
    users: dict[str, str] | None = None,
    port: int | None = None,
    in_flight: int = 100,
) -> Iterator[Broker]:
    """rumqttd, as iotcore's wheel carries it. It keeps sessions in memory: a restart loses them."""
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    table = "v5" if version == "5" else "v4"
    auth = "".join(f'{name} = "{password}"\n' for name, password in (users or {}).items())
    path = directory / f"rumqttd-{table}.toml"
    path.write_text(
        "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 200\n"
        "max_segment_size = 104857600\nmax_segment_count = 10\n"
        f'[{table}.1]\nname = "{table}"\nlisten = "127.0.0.1:{port}"\nnext_connection_delay_ms = 1\n'
        f"[{table}.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 1048576\n"
        f"max_inflight_count = {in_flight}\ndynamic_filters = true\n"
        + (f"[{table}.1.connections.auth]\n{auth}" if auth else "")
    )
    command = [sys.executable, "-m", "iotcore", "--config", str(path), "--log-level", "CRITICAL"]
    with _running(Broker("iotcore", port, command, directory / "rumqttd.log")) as broker:
        yield broker


_AMQTT = """
import asyncio, json, sys
from amqtt.broker import Broker
async def main():
    broker = Broker(json.loads(sys.argv[1]))
    await broker.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.contextmanager
def amqtt(
    directory: Path,
    *,
    port: int | None = None,
    users: dict[str, str] | None = None,
    subscribe_acl: dict[str, list[str]] | None = None,
) -> Iterator[Broker]:
    """
    amqtt, pure Python, MQTT 3.1.1. It keeps sessions in memory: a restart loses them.

    Without `users` it lets in whoever gives a user name.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    plugins: dict[str, dict[str, object]] = {}
    if users is None:
        # Anybody with a user name comes in; it keeps no session for who has none.
        plugins["amqtt.plugins.authentication.AnonymousAuthPlugin"] = {"allow_anonymous": False}
    else:
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher

        hasher = PasswordHash((Argon2Hasher(),))
        passwords = directory / "passwords"
        passwords.write_text("".join(f"{name}:{hasher.hash(word)}\n" for name, word in users.items()))
        plugins["amqtt.plugins.authentication.FileAuthPlugin"] = {"password_file": str(passwords)}
    if subscribe_acl is not None:
        plugins["amqtt.plugins.topic_checking.TopicAccessControlListPlugin"] = {"acl": subscribe_acl}
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": plugins,
    }
    command = [sys.executable, "-W", "ignore", "-c", _AMQTT, json.dumps(config)]
    with _running(Broker("amqtt", port, command, directory / "amqtt.log")) as broker:
        yield broker
