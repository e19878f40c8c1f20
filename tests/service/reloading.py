"""What the tests of reloads share: an agent between a broker and files, and how it is told to reload."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from brokers import Broker
from e2e.scene import AGENT, mqtt_collector
from processes import AgentProcess, wait_for

# How the line begins in which the agent says what came of a reload.
ENDS = ("reloaded", "not reloaded", "the new configuration cannot run", "reloading, everything starts anew")


def file_sink(path: Path, name: str = "out", more: str = "") -> str:
    """The table of a sink that writes a file; its batches go at once."""
    return f'[sinks.{name}]\ntype = "file"\npath = "{path}"\nlinger = "50ms"\n{more}\n'


def configured(plant: Broker | str, *tables: str, agent: str = AGENT, options: str = "") -> str:
    """A collector of `plant/#`, and these tables."""
    url = plant if isinstance(plant, str) else plant.url
    return agent + mqtt_collector(url, options=options) + "".join(tables)


def hup(agent: AgentProcess) -> None:
    """Ask for a reload."""
    assert agent.child is not None
    agent.child.send_signal(signal.SIGHUP)


def outcomes(agent: AgentProcess) -> list[str]:
    """What came of each reload, in the agent's words."""
    said = (line.split(maxsplit=2)[-1] for line in agent.text().splitlines())
    return [text for text in said if text.startswith(ENDS)]


def reload(agent: AgentProcess, config: str, timeout: float = 20) -> str:
    """Reload with that configuration; gives what the agent says of it."""
    before = len(outcomes(agent))
    agent.configure(config)
    hup(agent)
    wait_for("the reload", lambda: len(outcomes(agent)) > before, timeout)
    return outcomes(agent)[-1]


def arrived(path: Path) -> Counter[int]:
    """How often each message stands in the file of a sink."""
    text = path.read_text() if path.exists() else ""
    found = (json.loads(line)["fields"] for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return Counter(int(fields["uid"][2:]) for fields in found if "uid" in fields)


def once(numbers: range) -> Mapping[int, int]:
    """Each of these once."""
    return Counter(numbers)


def connects(plant: Broker, name: str = "plant") -> int:
    """How often the collector has connected, by Mosquitto's log."""
    return len(re.findall(rf"New client connected from \S+ as agent-\w+-{name}\b", plant.log.read_text()))
