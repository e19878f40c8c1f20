"""The files of a stopped agent are damaged: it starts, goes on, and what it says is lost is what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.playing import each, holds
from faults.rows import Row

pytestmark = pytest.mark.mosquitto


@each("damage")
def test_damage_costs_what_the_agent_says(row: Row, tmp_path: Path, capsys: Any) -> None:
    holds(row, tmp_path, capsys)
