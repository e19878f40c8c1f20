"""SIGHUP: a good file is taken on, a bad one changes nothing, and one that cannot run is undone."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

from processes import AgentProcess, get, wait_for

from agent.config import load

CONFIG = """
[agent]
tags = {{ version = "{version}" }}
[collectors.machine]
type = "host"
groups = ["load"]
interval = "100ms"
[sinks.out]
type = "file"
path = "{path}"
"""


def reload(agent: AgentProcess) -> None:
    assert agent.child is not None
    agent.child.send_signal(signal.SIGHUP)


def versions(path: Path) -> set[str]:
    """The tag of every record that has arrived."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {json.loads(line)["tags"]["version"] for line in lines}


def test_a_good_file_is_taken_on_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    with AgentProcess(tmp_path / "agent", CONFIG.format(version="1", path=out)) as agent:
        agent.start()
        wait_for("records", lambda: versions(out) == {"1"})
        agent.configure(CONFIG.format(version="2", path=out))
        reload(agent)
        wait_for("records of the new configuration", lambda: versions(out) == {"1", "2"})
        agent.configure(CONFIG.format(version="3", path=out) + "\n[sinks.out2]\ntype = 'nonsense'\n")
        reload(agent)
        wait_for("the refusal", lambda: "not reloaded" in agent.text())
        assert "sinks.out2.type" in agent.text()
        size = out.stat().st_size
        wait_for("more records", lambda: out.stat().st_size > size)
        assert versions(out) == {"1", "2"}
        assert agent.stop() == 0
        assert agent.command("audit").returncode == 0


def test_of_many_hups_in_a_row_none_is_lost_and_the_last_file_is_what_runs(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"

    def running() -> str:
        return str(agent.status()["agent"]["config_hash"])

    with AgentProcess(tmp_path / "agent", CONFIG.format(version="1", path=out)) as agent:
        agent.start()
        for n in range(40):
            more = f'[sinks.more]\ntype = "file"\npath = "{out}.{n % 7}"\nkeep = {n}\n'
            agent.configure(CONFIG.format(version="1", path=out) + (more if n % 3 else "") + ("[" if n == 20 else ""))
            reload(agent)
        wanted = load([agent.config], {}).config_hash
        wait_for("the last file", lambda: running() == wanted)
        assert agent.stop() == 0
        assert agent.command("audit").returncode == 0


def test_a_file_that_asks_for_what_cannot_be_had_is_undone(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    with AgentProcess(tmp_path / "agent", CONFIG.format(version="1", path=out)) as agent, socket.socket() as taken:
        agent.start()
        wait_for("records", lambda: versions(out) == {"1"})
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = agent.config.read_text()
        agent.config.write_text(text.replace(f":{agent.port}", f":{taken.getsockname()[1]}").replace('"1"', '"2"'))
        reload(agent)
        wait_for("the way back", lambda: "back to the former one" in agent.text())
        wait_for("the status pages", lambda: get(f"http://127.0.0.1:{agent.port}/health/ready")[0] == 200)
        size = out.stat().st_size
        wait_for("more records", lambda: out.stat().st_size > size)
        assert agent.stop() == 0


def test_a_spool_that_moves_at_a_reload_leaves_word_of_what_stays_behind(tmp_path: Path) -> None:
    out = tmp_path / "out.ndjson"
    with AgentProcess(tmp_path / "agent", CONFIG.format(version="1", path=out)) as agent:
        agent.start()
        wait_for("records", lambda: versions(out) == {"1"})
        text = agent.config.read_text()
        agent.config.write_text(text.replace(str(agent.state), str(tmp_path / "elsewhere")))
        reload(agent)
        wait_for("the move", (tmp_path / "elsewhere" / "format").is_file)
        said = next(line for line in agent.text().splitlines() if "the spool moves" in line)
        assert str(agent.state) in said
        assert str(tmp_path / "elsewhere") in said
        assert agent.stop() == 0
