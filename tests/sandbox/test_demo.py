"""`telemetry-agent demo` from outside: it ends by itself, it tells the truth, and Ctrl-C ends it in order."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from far import put
from rich.console import Console

from agent.cli import app
from agent.cli.demo import DATASET, Story
from agent.cli.demo_agent import Status
from agent.cli.demo_screen import Moment, screen
from agent.sandbox.broker import Broker
from agent.sandbox.devices import Fleet
from agent.sandbox.obsrv import Dataset, Sandbox

COMMAND = [sys.executable, "-m", "agent", "demo"]
MOMENT = Moment(
    seconds=3.2,
    phase="publishing",
    acknowledged=1234,
    taken=1240,
    queued=12,
    queued_bytes=3 << 20,
    lag=0.4,
    sink="up",
    stored=1228,
    requests=9,
)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_demo_with_an_outage_loses_nothing_and_keeps_its_books_for_whoever_asks(tmp_path: Path) -> None:
    with start("--for", "3s", "--rate", "100", "--outage", "obsrv=1", "--keep", str(tmp_path / "kept")) as process:
        text, _ = process.communicate(timeout=50)
    assert process.returncode == 0, text
    assert "lost 0  expired 0  evicted 0  dead-lettered 0" in text
    assert "obsrv is down" in text
    acknowledged = (tmp_path / "kept" / "devices.log").read_text().split()
    assert len(acknowledged) >= 150
    assert f"{len(acknowledged)} messages acknowledged" in text
    assert '"status": 503' not in (tmp_path / "kept" / "sandbox.ndjson").read_text()
    assert not (tmp_path / "kept" / "broker" / "broker.log").stat().st_size


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(SystemExit) as end:
        app(["demo", "--keep", str(tmp_path)])
    assert end.value.code == 64
    assert "is not empty" in capsys.readouterr().err


def test_ctrl_c_ends_the_demo_in_order_and_leaves_no_process_behind() -> None:
    with start("--for", "60") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.search(r"acknowledged [1-9]", line):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(process.pid, signal.SIGINT)
        text, _ = process.communicate(timeout=40)
    assert process.returncode == 0, text
    assert "lost 0" in text
    _gone, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.parametrize(
    ("arguments", "names"),
    [(["--outage", "mars=5"], "mars=5"), (["--for", "never"], "never"), (["--outage", "obsrv"], "--outage")],
)
def test_a_wrong_option_is_named_and_starts_nothing(
    arguments: list[str], names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        app(["demo", *arguments])
    assert end.value.code == 64
    assert names in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "ledger", "expected"),
    [
        (set(), {}, 0),
        ({"c"}, {}, 1),
        (set(), {"expired": 1}, 1),
        (set(), {"evicted": 1}, 1),
        (set(), {"dead": 1}, 1),
    ],
)
def test_the_verdict_is_good_only_where_nothing_at_all_is_missing(
    missing: set[str], ledger: dict[str, int], expected: int, tmp_path: Path
) -> None:
    out = io.StringIO()

    async def main() -> int:
        async with Sandbox.open([Dataset(id=DATASET)]) as sandbox:
            assert await put(sandbox.port, "m", [{"fields": {"uid": "a"}}, {"fields": {"uid": "b"}}], DATASET) == 200
            story = Story(
                directory=tmp_path,
                broker=Broker(kind="amqtt", port=1, port5=None, pid=0),
                seconds=1,
                outage=0,
                rate=1,
                status=Status(ledger=ledger),
            )
            fleet = Fleet(tmp_path / "log", 2)
            for uid in {"a", "b"} | missing:
                fleet.note(uid)
            fleet.close()
            story.count(sandbox)
            return story.verdict(fleet, sandbox, Console(file=out))

    assert asyncio.run(main()) == expected
    assert f"lost {len(missing)}  expired {ledger.get('expired', 0)}" in out.getvalue()


def test_what_is_shown_is_a_table_on_a_terminal_and_lines_elsewhere() -> None:
    plain, terminal = io.StringIO(), io.StringIO()
    with screen(Console(file=plain, width=200), "demo") as show:
        show(MOMENT)
        show(MOMENT)
    assert (
        plain.getvalue().splitlines()
        == ["demo"]
        + ["   3s  publishing     acknowledged 1234  taken 1240  spool 12 (3.0 MiB)  lag 0.4s  sink up  stored 1228"]
        * 2
    )
    with screen(Console(file=terminal, width=200, force_terminal=True), "demo") as show:
        show(MOMENT)
    assert "1,234" in terminal.getvalue()
    assert "┃" in terminal.getvalue()
