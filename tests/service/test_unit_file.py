"""The systemd unit: what it promises, what it must not take away from the collectors."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.config.settings import Agent

UNIT = Path(__file__).parents[2] / "systemd" / "telemetry-agent.service"


def entries() -> list[tuple[str, str]]:
    return re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_it_waits_for_the_agent_and_restarts_only_what_a_restart_can_mend() -> None:
    unit = dict(entries())
    assert unit["Type"] == "notify"
    assert unit["ExecStart"] == "/usr/bin/telemetry-agent run"
    assert unit["Restart"] == "on-failure"
    assert "78" in unit["RestartPreventExitStatus"].split()
    assert int(unit["WatchdogSec"]) == 60
    assert int(unit["TimeoutStopSec"]) > Agent().stop_grace + 5


def test_it_does_not_blind_the_collectors() -> None:
    unit = entries()
    for forbidden in ("ProcSubset", "PrivateUsers", "PrivateNetwork", "IPAddressDeny", "ProtectHostname"):
        assert forbidden not in dict(unit)
    assert ("ProtectProc", "invisible") not in unit
    assert dict(unit)["ProtectHome"] == "read-only"
    assert "AF_UNIX" in dict(unit)["RestrictAddressFamilies"], "systemd is told over a unix socket"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_it_and_little_exposed(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/telemetry-agent", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-300:]  # above 2.0
