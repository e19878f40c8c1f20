"""`dead-letters replay` and `drop` at their edges: what is meant, who may, and where there is no way in."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import AgentProcess, wait_for
from test_state_commands import _no_log_set_up, command, files, fill, settings

from agent import __version__
from agent.delivery.letters import dead_letter
from agent.spool import Kind, Part, Reader, Spool, audit, inventory
from agent.stats import Health, Stats
from agent.status.control import NAME

__all__ = ["_no_log_set_up"]

CONFIG = """
[collectors.machine]
type = "host"
groups = ["load"]
interval = "1h"
[sinks.lake]
type = "file"
path = "{path}"
"""
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """One letter of the lake and one of intake."""
    asyncio.run(fill(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that others may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def kept(state: Path) -> list[str]:
    """Whose letters there are."""
    return [letter["sink"] for letter in inventory.look(state / "dead-letters").letters]


def test_it_is_to_be_said_which_letters_are_meant(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(state)
    for what in ("replay", "drop"):
        assert command("dead-letters", what, "--state", state) == 64
        assert capsys.readouterr().err == "say which: --sink NAME, --id ID, or --all\n"
        assert command("dead-letters", what, "--state", state, "--id", "no-1", "--id", "no-2") == 64
        assert capsys.readouterr().err == "no dead letter no-1\nno dead letter no-2\n"
        assert command("dead-letters", what, "--state", state, "--sink", "pond") == 0
        assert capsys.readouterr().out == "no dead letters\n"
    assert command("dead-letters", "drop", "--state", state, "--all") == 64
    assert "(1 of intake, 1 of lake): add --yes" in capsys.readouterr().err
    assert files(state) == before


def test_a_misspelt_sink_has_no_letters_and_whose_there_are_is_said(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("dead-letters", "list", "--state", state, "--sink", "lkae") == 0
    assert capsys.readouterr().out == "no dead letters of lkae; there are some of intake, lake\n"


def test_a_replay_without_an_agent_wants_a_configuration_and_a_drop_does_not(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.toml"
    assert command("dead-letters", "replay", "--state", state, "--config", missing, "--all") == 78
    assert str(missing) in capsys.readouterr().err
    assert command("dead-letters", "drop", "--state", state, "--config", missing, "--all", "--yes") == 0
    assert capsys.readouterr().out == "1 of lake dropped\n1 of intake dropped\n"
    assert kept(state) == []


def test_letters_of_a_sink_that_is_no_more_stay_until_another_takes_its_name(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    text = CONFIG.format(path=tmp_path / "out.ndjson").replace("sinks.lake", "sinks.pond")
    config.write_text(text)
    words = ("dead-letters", "replay", "--state", state, "--config", config, "--sink", "lake")
    assert command(*words) == 65
    assert "there is no sink lake" in capsys.readouterr().out
    config.write_text(text + 'was = "lake"\n')
    assert command(*words) == 0
    assert capsys.readouterr().out == "1 taken by lake\n"
    assert json.loads((tmp_path / "out.ndjson").read_text())["fields"] == {"n": 3}
    report = audit(state)
    assert report.balanced
    assert report.dead_replayed == {"lake": 1}


def test_on_a_terminal_it_asks_before_it_drops(state: Path) -> None:
    words = [sys.executable, "-m", "agent", "dead-letters", "drop", "--state", str(state), "--sink", "lake"]
    for answer, left in ((b"n\n", ["lake", "intake"]), (b"y\n", ["intake"])):
        ours, theirs = pty.openpty()
        with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            os.write(ours, answer)
            out, error = child.communicate(timeout=30)
        os.close(ours)
        os.close(theirs)
        assert child.returncode == 0, (out, error)
        assert b"Drop dead letters for good (1 of lake)?" in out
        assert kept(state) == left


def test_letters_that_an_agent_has_not_come_to_are_said_to_wait(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a kill leaves them: in the log, and not in their files."""
    killed = tmp_path / "killed"

    async def cut_off() -> None:
        part = Health().part("spool", "writer")
        readers = [Reader("lake", "all"), Reader("notes", "all")]
        async with Spool.open(settings(state), readers, version=__version__, part=part, stats=Stats()) as spool:
            await spool._works.drain._busy.acquire()  # the drain is slow
            more = dead_letter("lake", 7, 9, b'{"ts":1,"source":"t","tags":{},"fields":{"n":9}}', "no")
            await spool.append([Part("dead", "lake", [more], 0, Kind.DEAD)])
            await asyncio.to_thread(shutil.copytree, state, killed)
            spool._works.drain._busy.release()

    asyncio.run(cut_off())
    config = tmp_path / "agent.toml"
    config.write_text(CONFIG.format(path=tmp_path / "out.ndjson") + f'[spool]\ndirectory = "{killed}"\n')
    words = ("dead-letters", "replay", "--config", config, "--sink", "lake", "--json")
    assert command(*words) == 75
    found = json.loads(capsys.readouterr().out)
    assert (found["replayed"], found["waiting"]) == ({"lake": 1}, 1)
    assert command("dead-letters", "drop", "--config", config, "--sink", "lake", "--yes") == 75
    assert capsys.readouterr().out.startswith("1 wait in the spool: the agent moves them ")
    agent = AgentProcess(tmp_path / "agent", config.read_text())
    with agent.start():
        ended = agent.command("dead-letters", "replay", "--sink", "lake")
        assert (ended.returncode, ended.stdout) == (0, "1 taken by lake\n"), ended.stderr
        assert agent.stop() == 0
    written = [json.loads(line)["fields"] for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert written[0] == {"n": 3}
    assert {"n": 9} in written


def test_a_sink_that_is_not_open_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    agent = AgentProcess(tmp_path / "agent", CONFIG.format(path=tmp_path / "folder" / "out.ndjson"))
    asyncio.run(fill(agent.state))
    with agent.start():
        wait_for("the sink to be down", lambda: agent.status()["sinks"]["lake"]["state"] == "down")
        ended = agent.command("dead-letters", "replay", "--sink", "lake")
        assert ended.returncode == 69, (ended.stdout, ended.stderr)
        assert "stopped at lake, 1 of it stay: cannot open: " in ended.stdout
        assert kept(agent.state) == ["lake", "intake"]
        (tmp_path / "folder").unlink()
        (tmp_path / "folder").mkdir()
        wait_for("it to be up", lambda: agent.status()["sinks"]["lake"]["state"] == "up")
        assert agent.command("dead-letters", "replay", "--sink", "lake").returncode == 0
        assert kept(agent.state) == ["intake"]
        assert agent.stop() == 0


@as_root
def test_root_drops_letters_as_their_owner_even_where_only_root_may_enter(open_folder: Path) -> None:
    """As systemd has it for the users it makes: the state lies below a directory of root's alone."""
    state = open_folder / "private" / "state"
    asyncio.run(fill(state))
    for path in [state, *state.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    state.parent.chmod(0o700)
    words = [sys.executable, "-m", "agent", "dead-letters", "drop", "--state", str(state), "--yes"]
    for more in (["--sink", "lake"], ["--all"]):
        ended = subprocess.run([*words, *more], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        for path in [state, *state.rglob("*")]:
            found = path.stat()
            assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY), path
            assert found.st_mode & 0o077 == 0 or path == state, path
    assert kept(state) == []
    assert audit(state).balanced


@as_root
def test_who_may_not_write_there_is_told_so(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = open_folder / "state"
    asyncio.run(fill(state))
    before = files(state)
    os.seteuid(NOBODY)
    try:
        assert command("dead-letters", "drop", "--state", state, "--all", "--yes") == 77
    finally:
        os.seteuid(0)
    assert "permission denied for the user nobody" in capsys.readouterr().err
    assert files(state) == before


def test_an_agent_that_can_have_no_socket_works_and_whoever_gives_an_order_is_told(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "agent", CONFIG.format(path=tmp_path / "out.ndjson"))
    asyncio.run(fill(agent.state))
    (agent.state / NAME).mkdir()
    with agent.start():
        assert "no control socket, orders cannot be given while it runs" in agent.text()  # before it was ready
        wait_for("a delivery", (tmp_path / "out.ndjson").exists)
        (agent.state / NAME).rmdir()  # then there is nothing at all
        for words in (("replay",), ("drop", "--yes")):
            ended = agent.command("dead-letters", *words, "--all")
            assert ended.returncode == 75, (ended.stdout, ended.stderr)
            assert "another agent works here" in ended.stderr
            assert "its log says why" in ended.stderr
        assert kept(agent.state) == ["lake", "intake"]
        assert agent.stop() == 0
    assert agent.command("dead-letters", "replay", "--sink", "lake").stdout == "1 taken by lake\n"
