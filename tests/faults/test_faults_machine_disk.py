"""The rows of the machine's disk in their quick form."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import machine_disk, playing, rows

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.id) for row in rows.of("machine") if rows.work(row).__module__ == machine_disk.__name__],
)
def test_nothing_is_lost(row: rows.Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    playing.holds(row, tmp_path, capsys)
