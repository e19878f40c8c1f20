"""Random trouble for SOAK (1h by default), from a printed seed, ending in the audit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from random import Random

import pytest
from e2e.scene import say

from agent import __version__
from agent.units import parse_duration
from faults import kept
from faults.rows import Row
from faults.soak import soak
from faults.stage import Stage

ROW = Row(id="soak", group="kills", does="random trouble", times=1, quick=1, loss="none")


@pytest.mark.soak
@pytest.mark.mosquitto
def test_nothing_acknowledged_is_lost_in_an_hour_of_random_trouble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    lasting = parse_duration(os.environ.get("SOAK", "1h"))
    say(capsys, f"E2E_SEED={seed}: {lasting:.0f} s of random trouble")
    stage = Stage(row=ROW, folder=tmp_path, seed=seed, times=1, is_quick=False, say=lambda text: say(capsys, text))
    summary = soak(stage, lasting)
    say(capsys, json.dumps(summary))
    stage.outcome.notes = summary
    kept.keep(
        ROW, stage.outcome, day=time.strftime("%Y-%m-%d"), version=__version__, seed=seed, times=1, seconds=lasting
    )
    assert stage.outcome.against("none") == [], stage.outcome
