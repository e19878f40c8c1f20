"""The process is gone in the middle of its work, or the machine is: nothing that was acknowledged is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faults.playing import each, holds
from faults.rows import Row

pytestmark = pytest.mark.mosquitto


@each("kills")
def test_a_kill_costs_what_the_table_says(row: Row, tmp_path: Path, capsys: Any) -> None:
    holds(row, tmp_path, capsys)
