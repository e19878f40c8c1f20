"""`verify-delivery`: what it shows of a sink's proof, and what it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_state_commands import _no_log_set_up, command

from agent.sandbox.obsrv import process as sandbox
from agent.sinks.obsrv import verify

__all__ = ["_no_log_set_up"]

CONFIG = """
[spool]
directory = "{state}"
[collectors.machine]
type = "host"
groups = ["load"]
[sinks.lake]
type = "obsrv"
url = "{url}"
dataset = "telemetry"
timeout = "2s"
connect_timeout = "1s"
[sinks.out]
type = "stdout"
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.Process]:
    with sandbox.start(tmp_path_factory.mktemp("far") / "journal.ndjson", datasets=["telemetry"]) as running:
        yield running


@pytest.fixture
def config(far: sandbox.Process, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.format(url=far.url, state=tmp_path / "state"))
    yield path
    far.heal()
    assert not (tmp_path / "state").exists(), "it touches no state"


def test_it_shows_each_step_and_ends_with_the_evidence(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("verify-delivery", "lake", "--config", config) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("   0.")
    assert " s  Obsrv took an event with " in lines[0]
    assert lines[-1].startswith("lake is verified: 1 event with ")


def test_programs_get_all_of_it_as_one_value(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("verify-delivery", "lake", "--config", config, "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["sink"], found["type"], found["verified"], found["error"]) == ("lake", "obsrv", True, "")
    assert found["evidence"].startswith("1 event with ")
    assert found["steps"][0]["text"].startswith("Obsrv took an event")
    assert "Obsrv took an event" in said.err


def test_what_cannot_be_read_back_has_an_exit_code_of_its_own(
    config: Path, far: sandbox.Process, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PATIENCE", 0.2)
    monkeypatch.setattr(verify, "ASK_AGAIN", 0.05)
    # It takes every event, and loses it where its schema is looked at.
    far.dataset({"dataset_id": "strict", "validation_config": {"validate": True, "mode": "Strict"}})
    config.write_text(config.read_text().replace('"telemetry"', '"strict"'))
    assert command("verify-delivery", "lake", "--config", config) == 76
    assert capsys.readouterr().err.startswith("lake is not verified: the event was taken, but a query for ")
    assert command("verify-delivery", "lake", "--config", config, "--json") == 76
    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], found["evidence"]) == (False, "")
    assert "the event was taken" in found["error"]


def test_a_far_side_that_takes_nothing_is_said_so(
    config: Path, far: sandbox.Process, capsys: pytest.CaptureFixture[str]
) -> None:
    far.fault("unavailable")
    assert command("verify-delivery", "lake", "--config", config) == 69
    assert "503" in capsys.readouterr().err


def test_a_sink_that_is_not_there_or_cannot_prove_anything_is_a_mistake(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("verify-delivery", "lke", "--config", config) == 64
    assert capsys.readouterr().err == "no sink lke; there are lake, out; did you mean lake?\n"
    assert command("verify-delivery", "out", "--config", config) == 64
    said = capsys.readouterr().err
    assert said.startswith("a sink of type stdout cannot read back what it has sent; these can: ")
    assert "obsrv" in said
