"""The near side: each row in its quick form."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import playing, rows

pytestmark = pytest.mark.mosquitto


@playing.each("near")
def test_a_broker_that_fails_costs_nothing(row: rows.Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    playing.holds(row, tmp_path, capsys)
