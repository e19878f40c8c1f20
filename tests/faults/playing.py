"""A row as a test: its quick form, its seed printed, its promise asserted."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from e2e.scene import say

from faults import rows
from faults.stage import play


def each(group: str) -> pytest.MarkDecorator:
    """One test a row of that group."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in rows.of(group)])


def holds(row: rows.Row, folder: Path, capsys: Any) -> None:
    """Play the row's quick form and assert what it promises. E2E_SEED repeats one."""
    seed = int(os.environ.get("E2E_SEED", Random().randrange(1 << 32)))
    say(capsys, f"{row.id}: E2E_SEED={seed}")
    outcome = play(row, rows.work(row), folder, quick=True, seed=seed, say=lambda text: say(capsys, text))
    assert outcome.against(row.loss) == [], outcome
