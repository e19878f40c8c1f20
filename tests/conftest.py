"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

# Whoever loads aiohttp reads the system's authorities twice, a quarter of what the start of a stand-in costs, and the
# tests start hundreds of processes. None of them trusts one of these; but a soak tells what an agent needs in memory.
if "SOAK" not in os.environ:
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull


@pytest.fixture(autouse=True)
def _logs_at_every_level() -> Iterator[None]:
    """A command run inside a test sets the level of all logs: the next test is not to inherit it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
