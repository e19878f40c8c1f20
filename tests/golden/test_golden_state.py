"""A state directory of format 1, made once and kept, is drained exactly by every version that reads format 1."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from make_state_v1 import ALARMS_LANE, EXPECTED, STATE
from processes import AgentProcess, wait_for

from agent.options import Selection
from agent.sandbox.obsrv import process as sandbox
from agent.sandbox.obsrv.ledger import read_journal

CONFIG = """
[spool]
directory = "@STATE@"
max_age = "36500d"
[collectors.machine]
type = "host"
groups = ["load"]
interval = "1h"
[sinks.lake]
type = "obsrv"
url = "{url}"
dataset = "lake"
[sinks.alarms]
type = "obsrv"
url = "{url}"
dataset = "alarms"
where = {{ topic = "*/alarm" }}
"""


def test_the_lane_of_a_selection_keeps_its_name():
    assert Selection(where={"topic": ("*/alarm",)}).lane == ALARMS_LANE


def test_the_golden_state_drains_exactly_and_its_batches_keep_their_names(tmp_path: Path):
    expected = json.loads(EXPECTED.read_text())
    with sandbox.start(tmp_path / "journal.ndjson", datasets=["lake", "alarms"]) as far:
        agent = AgentProcess(tmp_path / "agent", CONFIG.format(url=far.url))
        shutil.copytree(STATE, agent.state)
        with agent.start():

            def drained() -> bool:
                return all(sink["queued"] == 0 for sink in agent.status()["sinks"].values())

            wait_for("the golden state to drain", drained)
            assert agent.stop() == 0
        assert agent.command("audit").returncode == 0
        assert far.report()["conflicts"] == []
        accepted = read_journal(far.journal)["accepted"]
        for sink in ("lake", "alarms"):
            messages = [entry["msgid"] for entry in accepted if entry["dataset"] == sink]
            assert set(expected[sink]["batches"]) <= set(messages)
            stored = far.stored_ids(sink)
            del stored[""]  # this machine's own metrics
            assert stored == Counter(map(str, expected[sink]["numbers"]))
    letters = [
        json.loads(line)
        for file in (agent.state / "dead-letters").glob("*.ndjson")
        for line in file.read_text().splitlines()
    ]
    assert len(letters) == expected["letters"]


def test_a_state_directory_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path):
    agent = AgentProcess(tmp_path / "agent", CONFIG.format(url="http://127.0.0.1:9"))
    shutil.copytree(STATE, agent.state)
    (agent.state / "format").write_text("2 9.0.0\n")
    before = {path: path.read_bytes() for path in agent.state.rglob("*") if path.is_file()}
    with agent.start(ready=False):
        assert agent.child is not None
        assert agent.child.wait(20) == 78
    assert {path: path.read_bytes() for path in agent.state.rglob("*") if path.is_file()} == before
    assert "9.0.0" in agent.text()


@pytest.fixture(autouse=True)
def _is_made() -> None:
    assert STATE.is_dir(), "python tests/golden/make_state_v1.py makes it"
