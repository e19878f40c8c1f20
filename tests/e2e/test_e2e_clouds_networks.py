"""The whole agent on networks as they are: the clouds behind a proxy and a private authority, or on IPv6 alone."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import trustme
from brokers import Broker, free_port, mosquitto
from clouds import TENANT, Inside, clouds_inside, cw_key, schema_table
from processes import AgentProcess, get, wait_for
from scene import AGENT, DATASET, assert_books_balance, mqtt_collector, publish, uid

HOST = '[collectors.host]\ntype = "host"\ninterval = "200ms"\ngroups = ["load"]\n'
# The quotation marks make the agent find out how the far side escapes: it posts an event and reads it back.
EVENT = """
[[events]]
name = "loaded"
when = "host.load.load1 >= 0"
what = 'said "{rule}" on {host}'
"""
ROWS = schema_table(v='"host.load.load1"')


def arrived(far: Inside) -> bool:
    """Whether each cloud has something."""
    events = [event.what for event in far.notes.events(TENANT) if event.tags != "telemetry-agent-self-test"]
    return bool(
        len(far.insight.stored(cw_key())) >= 2 and events == ['said "loaded" on edge'] and far.lake.stored(DATASET)
    )


def ports(*urls: str) -> set[int]:
    return {int(urlsplit(url).port or 0) for url in urls}


def connections(agent: AgentProcess) -> list[Any]:
    """The agent's connections to others."""
    assert agent.child is not None
    return [each for each in psutil.Process(agent.child.pid).net_connections("tcp") if each.raddr]


def test_all_three_are_reached_through_a_proxy_by_names_of_a_private_authority(tmp_path: Path) -> None:
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    with clouds_inside(tls=server, notes={"visible_after": 0.1}, insight={"visible_after": 0.0}) as far:
        more = f'ca_file = "{trusted}"\nproxy = "{far.proxy.url}"\n'
        config = AGENT + HOST + EVENT + far.sinks(tmp_path, lake=more, insight=more, notes=more, schemas=ROWS)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            wait_for("something at each cloud", lambda: arrived(far))
            assert {each.raddr.port for each in connections(agent)} <= ports(far.proxy.url)
            there = (far.lake.url, far.insight.url, far.notes.url, far.notes.query_url, far.notes.identity_url)
            assert {line.rpartition(" HTTP")[0] for line in far.proxy.asked} == {
                f"CONNECT 127.0.0.1:{port}" for port in ports(*there)
            }
            for sink in ("insight", "notes"):
                verified = agent.command("verify-delivery", sink)
                assert verified.returncode == 0, (verified.stdout, verified.stderr)
            assert agent.stop() == 0
            assert_books_balance(agent)


class Agent6(AgentProcess):
    """An agent whose own pages are on ::1, too."""

    def configure(self, text: str) -> None:
        super().configure(text)
        self.config.write_text(self.config.read_text().replace(f"127.0.0.1:{self.port}", f"[::1]:{self.port}"))

    def is_ready(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, f"ended with {self.child.returncode}:\n{self.text()}"
        return get(f"http://[::1]:{self.port}/health/ready")[0] == 200


@contextmanager
def broker6(directory: Path) -> Iterator[tuple[Broker, str]]:
    """Mosquitto, and where it listens on ::1 (it does on 127.0.0.1 as well, for the publisher)."""
    port = free_port()
    with mosquitto(directory, listener=f"listener {port} ::1") as running:
        yield running, f"mqtt://[::1]:{port}"


@pytest.mark.mosquitto
def test_loopback_ipv6_is_all_that_is_needed(tmp_path: Path) -> None:
    with broker6(tmp_path / "broker") as (plant, url), clouds_inside(host="::1", notes={"visible_after": 0.1}) as far:
        config = AGENT + mqtt_collector(url) + HOST + EVENT + far.sinks(tmp_path, schemas=ROWS)
        with Agent6(tmp_path / "agent", config) as agent:
            agent.start()
            page = f"http://[::1]:{agent.port}/status.json"
            wait_for("the collector", lambda: json.loads(get(page)[1])["collectors"]["plant"]["state"] == "up")
            publish(plant, range(50))
            wait_for("something at each cloud", lambda: arrived(far))
            wait_for("the messages", lambda: {uid(n) for n in range(50)} <= far.lake_uids().keys())
            assert {each.raddr.ip for each in connections(agent)} == {"::1"}
            assert agent.stop() == 0
            assert_books_balance(agent)
