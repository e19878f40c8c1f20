"""The commands check, init and plugins, as a person calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent import SPOOL_FORMAT, __version__
from agent.cli import COMMANDS, app
from agent.config import DEFAULT_PATH

FOREIGN = Path(__file__).parent / "foreign"
CANARY = "canary-7f3a"
GOOD = f"""\
[agent]
hostname = "edge"
[spool]
durability = "interval"
[collectors.me]
type = "host"
interval = "5s"
[sinks.lake]
type = "obsrv"
url = "https://obsrv.example.org"
dataset = "fleet"
token = "{CANARY}"
select = "host.*"
where = {{ site = ["a", "b"] }}
on_full = "block"
"""


def agent(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program itself."""
    environ = {**os.environ, "PYTHONPATH": str(FOREIGN)}
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOREIGN)
    (tmp_path / "agent.toml").write_text(GOOD)
    return tmp_path


def called(*arguments: str) -> int:
    """The exit status of a command run in this process."""
    with pytest.raises(SystemExit) as end:
        app(arguments)
    return int(end.value.code or 0)


def test_mistakes_are_printed_and_the_exit_code_is_78(folder: Path) -> None:
    (folder / "bad.toml").write_text(GOOD + "[log]\nlevel = 'loud'\n[more]\n")
    done = agent("check", "--config", "bad.toml", cwd=folder)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'bad.toml:17 log.level: expected one of "debug", "info", "warning", "error", found "loud"',
        "bad.toml:18 more: no such table",
    ]


def test_a_good_file_is_summed_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("check", "--config", "agent.toml") == 0
    out = capsys.readouterr().out
    assert out.startswith("agent.toml: no mistakes\n")
    assert 'me (host): interval = "5s"\n' in out
    assert 'host.* where site is a or b to lake (obsrv): url = "https://obsrv.example.org", dataset = "fleet"' in out
    assert 'durability = "interval": what is acknowledged survives kill -9; a power cut loses at most' in out
    assert "(none would give:" in out
    assert "strict" not in out  # stronger: nothing is said against it
    assert 'lake may stop intake for all sinks when the spool is full (on_full = "block")' in out
    assert CANARY not in out


def test_warnings_are_printed_but_refuse_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.toml").write_text(GOOD.replace('"edge"', '"0123456789ab"'))
    assert called("check", "--config", "agent.toml") == 0
    assert "warning: agent.toml:2 agent.hostname: the host name 0123456789ab looks like" in capsys.readouterr().out


def test_the_whole_configuration_is_printed_as_a_file_that_loads(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("check", "--config", "agent.toml", "--print") == 0
    out = capsys.readouterr().out
    tree = tomllib.loads(out)
    assert tree["spool"]["durability"] == "interval"
    assert tree["spool"]["max_age"] == "7d"
    assert tree["sinks"]["lake"]["token"] == "***"
    assert tree["sinks"]["lake"]["gzip"] is True
    assert CANARY not in out
    (folder / "again.toml").write_text(out)
    assert called("check", "--config", "again.toml") == 0


def test_init_writes_a_file_that_checks_and_never_over_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("init") == 64
    assert (folder / "agent.toml").read_text() == GOOD
    assert "agent.toml is there already" in capsys.readouterr().err
    for arguments in (["-o", "new.toml"], ["--force"], ["--minimal", "-o", "small.toml"]):
        assert called("init", *arguments) == 0
    for name in ("new.toml", "agent.toml", "small.toml"):
        assert called("check", "--config", name) == 0
    assert (folder / "new.toml").stat().st_mode & 0o007 == 0
    assert len((folder / "small.toml").read_text()) < 500 < len((folder / "new.toml").read_text())


def test_init_prints_where_it_is_asked_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("init", "--minimal", "-o", "-") == 0
    assert tomllib.loads(capsys.readouterr().out)["sinks"] == {"console": {"type": "stdout"}}
    assert called("init", "-o", "all.toml") == 0
    assert "Next: edit the placeholders in it, or write a small one with --minimal" in capsys.readouterr().out
    assert called("init", "--minimal", "-o", "small.toml") == 0
    assert "placeholders" not in capsys.readouterr().out


def test_plugins_lists_the_kinds_those_of_other_packages_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("plugins") == 0
    out = capsys.readouterr().out
    for kind in ("host", "mqtt", "self", "obsrv", "file", "stdout"):
        assert f"\n  {kind} " in out
    assert "\n  tank         A tank with valves.\n" in out
    assert "\n  broken       cannot be loaded: AttributeError" in out


def test_plugins_shows_the_options_of_a_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("plugins", "tank") == 0
    out = capsys.readouterr().out
    assert '\nevery  (duration; default "10s")\n    How often.\n' in out
    assert "\n[[valves]]: The valves.\n" in out
    assert "\n[valves.clock]: Its own time.\n\nkey  (string; required)\n    Where the time stands.\n" in out
    assert called("plugins", "boat") == 64
    capsys.readouterr()
    assert called("plugins", "tnak") == 64
    assert "did you mean tank?" in capsys.readouterr().err


@pytest.mark.skipif(DEFAULT_PATH.exists(), reason="an agent is installed here")
def test_without_any_file_it_says_how_to_come_by_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("check") == 78
    assert capsys.readouterr().err == (
        "/etc/telemetry-agent/agent.toml: cannot be read: No such file or directory; "
        'write one with "telemetry-agent init -o PATH", or give --config\n'
    )


def test_tables_are_counted_in_plain_english(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[collectors.a]\ntype="mqtt"\nurl="mqtt://b"\nsubscription=[{topic="a"}]\n[sinks.out]\ntype="stdout"\n'
    for subscriptions, summed in (
        ('{topic="a"}', "1 subscription\n"),
        ('{topic="a"},{topic="b"}', "2 subscriptions\n"),
    ):
        (folder / "two.toml").write_text(text.replace('{topic="a"}', subscriptions))
        assert called("check", "--config", "two.toml") == 0
        assert summed in capsys.readouterr().out


def test_a_credential_without_systemd_says_how_to_try_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.toml").write_text(GOOD.replace(CANARY, "credential:lake"))
    assert called("check", "--config", "agent.toml") == 78
    assert "to try it without: CREDENTIALS_DIRECTORY=DIR telemetry-agent check" in capsys.readouterr().err


ONCE = """\
[spool]
directory = "state"
durability = "none"
[collectors.machine]
type = "host"
groups = ["cpu"]
interval = "1h"
[sinks.archive]
type = "file"
path = "records.ndjson"
"""


def test_once_takes_the_second_sample_so_that_differences_are_there(folder: Path) -> None:
    (folder / "once.toml").write_text(ONCE)
    done = agent("once", "--config", "once.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    cpus = [record["tags"]["cpu"] for record in records if record["source"] == "host.cpu"]
    assert "cpu-total" in cpus
    assert len(cpus) == len(set(cpus)), "one sample, not two"


def test_once_says_what_it_has_delivered(folder: Path) -> None:
    (folder / "once.toml").write_text(ONCE)
    done = agent("once", "--send", "--config", "once.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    records = (folder / "records.ndjson").read_text().splitlines()
    assert records
    assert done.stderr == f"{len(records)} records delivered to archive\n"


def test_a_command_line_that_makes_no_sense_ends_with_64(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("check", "--confg", "x") == 64
    assert called("chekc") == 64


def test_the_help_names_every_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--help") == 0
    out = capsys.readouterr().out
    for command in ("run", *COMMANDS):
        assert f"  {command} " in out


def test_the_version_names_the_spool_format_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("--version") == 0
    assert capsys.readouterr().out == f"telemetry-agent {__version__} (spool format {SPOOL_FORMAT})\n"


def test_reading_the_configuration_loads_nothing_that_prints_for_people() -> None:
    script = (
        "import sys; sys.modules['rich'] = None\n"
        "import agent.config, agent.cli\n"
        "costly = {'typer', 'click', 'importlib.metadata', 'difflib', 'aiohttp', 'psutil', 'mqtt5'}\n"
        "print(*sorted(costly & set(sys.modules)), end='')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
