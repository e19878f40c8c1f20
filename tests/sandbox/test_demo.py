"""`telemetry-agent demo` from outside: it ends by itself, it tells the truth, and Ctrl-C ends it in order."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from agent.cli import app
from agent.cli.demo_screen import Moment, Row, screen
from agent.sandbox.obsrv.ledger import read_journal
from agent.sandbox.rackspace.ledger import read_journal as read_events

COMMAND = [sys.executable, "-m", "agent", "demo"]
ALL_IS_WELL = "lost 0  expired 0  evicted 0  dead-lettered 0"
ROWS = (
    Row(cloud="obsrv", taken=1240, stored="1,228 records", queued=12, queued_bytes=3 << 20, lag=0.4, state="up"),
    Row(cloud="rackspace", taken=7, stored="7 events", queued=0, queued_bytes=0, lag=0.0, state="down"),
)
MOMENT = Moment(seconds=3.2, phase="publishing", readings=1234, alarms=5, rows=ROWS)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def until_acknowledged(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(r"acknowledged [1-9]", line):
            return


def test_with_an_outage_of_each_cloud_nothing_is_lost_and_the_books_are_kept_for_whoever_asks(tmp_path: Path) -> None:
    kept = tmp_path / 'a "kept" folder'
    # Cloud Insight gets something every five seconds, so that only an outage longer than that is sure to be met.
    outages = ("--outage", "obsrv=2", "--outage", "insight=5.5", "--outage", "rackspace=2s")
    with start("--for", "4s", "--rate", "100", *outages, "--keep", str(kept)) as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    ends = [line for line in text.splitlines() if ALL_IS_WELL in line]
    assert [line.split()[0] for line in ends] == ["obsrv", "insight", "rackspace", "lost"]
    assert "obsrv and insight and rackspace are down" in text
    assert "insight is down" in text
    assert "every record that the agent took in is accounted for" in text
    # Each outage was met, and each cloud has what the last lines say.
    for cloud in ("insight", "rackspace"):
        assert '"status": 503' in (kept / f"{cloud}.ndjson").read_text()
    acknowledged = (kept / "devices.log").read_text().split()
    readings, alarms = map(int, re.findall(r"devices +(\d+) readings and (\d+) alarms", text)[0])
    assert len(acknowledged) == readings + alarms >= 200
    assert {key for entry in read_journal(kept / "obsrv.ndjson")["stored"] for key in entry["ids"]} >= set(acknowledged)
    events = read_events(kept / "rackspace.ndjson")
    assert sum(" is hot: " in (entry["what"] or "") for entry in events["stored"]) >= 1
    assert events["issued"], "a token of Identity"
    assert not (kept / "broker" / "broker.log").stat().st_size
    with pytest.raises(SystemExit) as end:
        app(["audit", "--config", str(kept / "agent.toml")])
    assert end.value.code == 0


def test_ctrl_c_ends_the_demo_in_order_and_leaves_no_process_behind() -> None:
    with start("--for", "60", "--outage", "insight=40") as process:
        until_acknowledged(process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=40)
    assert process.returncode == 0, text
    assert f"\n{ALL_IS_WELL}" in text
    _gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_an_agent_that_is_killed_ends_the_demo_with_its_last_words() -> None:
    with start("--for", "60") as process:
        until_acknowledged(process)
        (agent,) = [each for each in psutil.Process(process.pid).children() if "run" in each.cmdline()]
        agent.kill()
        text, _ = process.communicate(timeout=40)
    assert process.returncode == os.EX_UNAVAILABLE, text
    assert "demo: the agent ended with -9:" in text
    assert "Traceback" not in text
    assert "lost" not in text


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(SystemExit) as end:
        app(["demo", "--keep", str(tmp_path)])
    assert end.value.code == 64
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [(["--outage", "mars=5"], "mars=5"), (["--for", "never"], "never"), (["--outage", "insight"], "--outage")],
)
def test_a_wrong_option_is_named_and_starts_nothing(
    arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        app(["demo", *arguments])
    assert end.value.code == 64
    assert names in capsys.readouterr().err


def test_what_is_shown_is_a_table_on_a_terminal_and_lines_elsewhere() -> None:
    plain, terminal = io.StringIO(), io.StringIO()
    with screen(Console(file=plain, width=80), "demo") as show:
        show(MOMENT)
        show(MOMENT)
    shown = (
        "   3s  publishing    acknowledged 1234 + 5 alarms"
        " | obsrv up, taken 1240, stored 1,228 records, spool 12 (3.0 MiB), lag 0.4s"
        " | rackspace down, taken 7, stored 7 events, spool 0 (0 KiB), lag 0.0s"
    )
    assert plain.getvalue().splitlines() == ["demo", shown, shown]
    with screen(Console(file=terminal, width=80, force_terminal=True), "demo") as show:
        show(MOMENT)
    for text in ("1,240", "1,228 records", "rackspace", "down", "1,234 readings", "┃"):
        assert text in terminal.getvalue()
