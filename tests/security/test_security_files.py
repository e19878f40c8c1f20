"""What a run leaves and opens on its machine: nobody else's to read, whatever the umask; nothing beyond loopback."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest
from e2e.scene import AGENT, broker, mqtt_collector, obsrv_sink, publish, subscribed
from processes import AgentProcess, free_port, wait_for

from agent.config import load
from agent.errors import ConfigError


def _payload(number: int) -> bytes:
    return b'{"v":%d}' % number if number % 2 else b"no JSON"


def _open_to_others(folder: Path) -> dict[str, str]:
    """Everything below the folder, itself included, that its owner is not alone with."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            found[str(path)] = oct(mode)
    return found


@pytest.mark.mosquitto
def test_the_state_directory_is_its_users_alone_under_any_umask(tmp_path: Path) -> None:
    config = (
        AGENT
        + 'lifecycle_events = ["start", "outage"]\n'
        + "@COLLECTOR@"
        + obsrv_sink(f"http://127.0.0.1:{free_port()}")
        + '[[events]]\nname = "high"\nwhen = "mqtt.plant.v > 1"\n'
    )
    before = os.umask(0)
    try:
        with broker(tmp_path) as plant:
            text = config.replace("@COLLECTOR@", mqtt_collector(plant.url))
            with AgentProcess(tmp_path / "agent", text) as agent:
                agent.start()
                subscribed(agent)
                publish(plant, range(40), payload=_payload)
                wait_for("dead letters", lambda: any(agent.state.glob("dead-letters/*.ndjson")))
                wait_for("what rules remember", (agent.state / "events.json").exists)
                assert stat.S_IMODE((agent.state / "control.sock").stat().st_mode) == 0o600
                assert agent.child is not None
                assert _listening_beyond_loopback(agent.child.pid) == []
                agent.stop()
                # What is damaged is set aside; what is dropped is written anew.
                (cursor,) = agent.state.glob("lanes/all/lake.cursor")
                cursor.write_bytes(b"damaged")
                agent.start()
                wait_for("the damaged cursor to be set aside", lambda: any(agent.state.glob("damaged/*")))
                agent.command("dead-letters", "drop", "--all", "--yes", check=True)
                agent.stop()
        names = {path.name for path in agent.state.rglob("*")}
        assert {"format", "instance", "lock", "subscriptions.json", "events.json", "counts", "head"} <= names
        cursor.chmod(0o600)  # written by this test alone
        assert _open_to_others(agent.state) == {}
    finally:
        os.umask(before)


def _listening_beyond_loopback(pid: int) -> list[str]:
    found = psutil.Process(pid).net_connections(kind="inet")
    listening = [each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN]
    assert listening, "the status pages do not listen"
    return [address for address in listening if address not in ("127.0.0.1", "::1")]


def _loaded(tmp_path: Path, status: str) -> str:
    """The address that is listened on, or what is wrong with it."""
    file = tmp_path / "agent.toml"
    file.write_text(f'[collectors.host]\ntype = "host"\n[sinks.out]\ntype = "stdout"\n[status]\n{status}\n')
    try:
        return load([file], {}).status.listen
    except ConfigError as error:
        return str(error)


def test_without_a_word_the_pages_are_on_loopback(tmp_path: Path) -> None:
    assert _loaded(tmp_path, "") == "127.0.0.1:9465"


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9465", "[::]:9465", "192.0.2.1:9465", "edge.example.net:9465", "127.0.0.1.example.net:9465"]
)
def test_any_other_address_is_refused_until_it_is_allowed_by_name(tmp_path: Path, listen: str) -> None:
    assert "can be reached from other machines" in _loaded(tmp_path, f'listen = "{listen}"')
    assert _loaded(tmp_path, f'listen = "{listen}"\nallow_remote = true') == listen
    assert _loaded(tmp_path, f'listen = "{listen}"\nenabled = false') == listen


@pytest.mark.parametrize("listen", ["localhost:9465", "[::1]:9465", "127.8.9.10:9465"])
def test_every_name_of_loopback_is_loopback(tmp_path: Path, listen: str) -> None:
    assert _loaded(tmp_path, f'listen = "{listen}"') == listen
