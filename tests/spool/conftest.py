from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from spooling import temporary


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory to be, in memory where there is any."""
    with temporary() as directory:
        yield Path(directory) / "state"
