"""The options of the Rackspace sink: what is refused, what is doubted, what it will cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.errors import ConfigError
from agent.schema import Secret
from agent.sinks.rackspace import Rackspace

OWN: dict[str, Any] = {"tenant": "123456", "url": "http://127.0.0.1:19000"}
HOSTED: dict[str, Any] = {"tenant": "123456", "username": "u", "api_key": Secret("k")}

TOML = """
[collectors.host]
type = "host"

[sinks.notes]
type = "rackspace"
tenant = "123456"
"""


@pytest.mark.parametrize("options", [OWN, HOSTED, {**HOSTED, "tenant": "hybrid:77"}, {**OWN, "tenant": "my_team-1"}])
def test_a_tenant_and_a_place_are_all_it_takes(options: dict[str, Any]) -> None:
    assert Rackspace(**options).problems() == []


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({"tenant": "1"}, "url", "username and api_key"),
        ({**HOSTED, "api_key": None}, "api_key", "needed with username"),
        ({**OWN, "api_key": Secret("k")}, "username", "needed with api_key"),
        ({**OWN, "tenant": "a/b"}, "tenant", "letters, digits"),
        ({**OWN, "tenant": "hybrid:x"}, "tenant", "letters, digits"),
        ({**OWN, "tenant": "123\n"}, "tenant", "letters, digits"),
        ({**OWN, "tenant": ""}, "tenant", "letters, digits"),
        ({**OWN, "url": "http://127.0.0.1:19000/v2.0/123456"}, "url", "without the path"),
        ({**OWN, "query_url": "ftp://x"}, "query_url", "expected a URL"),
        ({**HOSTED, "url": "http://ingest.example.org"}, "url", "would show the secret"),
        ({**HOSTED, "query_url": "http://query.example.org"}, "query_url", "would show the secret"),
        ({**HOSTED, "identity_url": "http://identity.example.org"}, "identity_url", "would show the secret"),
        ({**OWN, "what": ()}, "what", "at least one"),
        ({**OWN, "what": ("{fields}", "{feilds.what}")}, "what", "{feilds.what} is no place"),
        ({**OWN, "tags": "{tags.}"}, "tags", "is no place"),
        ({**OWN, "data": "{"}, "data", "a single {"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(options: dict[str, Any], name: str, text: str) -> None:
    found = Rackspace(**options).problems()
    assert [(option, text in said) for option, said in found] == [(name, True)]


def test_a_blueflood_on_a_private_network_needs_no_tls() -> None:
    assert Rackspace(tenant="1", url="http://blueflood.example.org:19000").problems() == []


@pytest.mark.parametrize(
    ("select", "doubtful"),
    [
        ('["event.*"]', False),
        ('["event.*", "mqtt.alarms"]', False),
        ('["*"]', True),
        ('["host.*"]', True),
        ('["host.mem"]', True),
        ('["mqtt.*"]', True),
    ],
)
def test_sources_of_samples_are_doubted(tmp_path: Path, select: str, doubtful: bool) -> None:
    (tmp_path / "agent.toml").write_text(TOML + f'url = "http://127.0.0.1:19000"\nselect = {select}\n')
    said = [each for each in load([tmp_path / "agent.toml"], {}).warnings if "86,400 events a day" in str(each)]
    assert bool(said) is doubtful
    assert all("sinks.notes.select" in str(each) for each in said)


def test_unless_told_otherwise_it_gets_events_alone(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(TOML + 'url = "http://127.0.0.1:19000"\n')
    table = load([tmp_path / "agent.toml"], {}).sinks["notes"]
    assert table.selection.select == ("event.*",)
    assert isinstance(table.plugin, Rackspace)


def test_a_sink_that_goes_nowhere_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(TOML)
    with pytest.raises(ConfigError, match=r"sinks\.notes\.url"):
        load([tmp_path / "agent.toml"], {})


def test_what_it_will_cost_is_told() -> None:
    lines = Rackspace(**HOSTED).outlook({"host": "h"})
    assert lines[0] == "at most 60 events a minute, 86,400 a day, one request each"
    assert "of 16 such agents" in lines[1]
    assert "unless it was raised" in Rackspace(**HOSTED, rate=2000).outlook({})[1]
    (_, line) = Rackspace(**OWN).outlook({})
    assert "query_url" in line
    assert len(Rackspace(**OWN, query_url="http://127.0.0.1:20000").outlook({})) == 1
    assert len(Rackspace(**OWN, escape="json").outlook({})) == 1


def test_what_the_documentation_shows_loads(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "rackspace.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "key").write_text("k")
    for block in blocks:
        text = block.replace("/etc/telemetry-agent/rackspace.key", str(tmp_path / "key"))
        (tmp_path / "agent.toml").write_text(
            '[agent]\nlifecycle_events = ["start"]\n[collectors.host]\ntype = "host"\n' + text
        )
        assert load([tmp_path / "agent.toml"], {}).warnings == ()
