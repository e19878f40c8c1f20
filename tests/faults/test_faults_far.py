"""The rows of the far side, in their quick form: what it does to requests, and the way to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import rows
from faults.playing import holds

pytestmark = pytest.mark.mosquitto

TABLES = "-errors"  # walked in test_faults_far_errors.py, for tests are spread by file


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in rows.of("far") if not row.id.endswith(TABLES)])
def test_nothing_is_lost(row: rows.Row, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holds(row, tmp_path, capsys)
