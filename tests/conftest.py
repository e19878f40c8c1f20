"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_at_every_level() -> Iterator[None]:
    """A command run inside a test sets the level of all logs: the next test is not to inherit it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
