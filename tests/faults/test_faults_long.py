"""Long times in short, and crowds: nothing is lost within the limits, little is said, and nobody comes in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.playing import each, holds
from faults.rows import Row


@pytest.mark.timeout(120)
@each("long")
def test_a_long_time_costs_what_the_table_says(row: Row, tmp_path: Path, capsys: Any) -> None:
    holds(row, tmp_path, capsys)
