"""The machine's rows in their quick form, but for those of its disk: test_faults_machine_disk.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import machine_disk, playing, rows

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.id) for row in rows.of("machine") if rows.work(row).__module__ != machine_disk.__name__],
)
def test_nothing_is_lost_but_what_is_counted(row: rows.Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    playing.holds(row, tmp_path, capsys)
