"""Any bytes in the place of the files of the state directory: read for what they are worth, and never a crash."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import example, given, settings

from fuzz.mutate import BUSY, mutated
from fuzz.states import seeds, state


@pytest.fixture(autouse=True)
def _quiet() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@settings(max_examples=200, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds()))
@example(b'\x03\x00{"seq":5,"at":7,"id":"a-1","sink":"lake","ts":1,"payload":"{}"}')  # whole, but for its line break
def test_a_file_that_is_nearly_right_is_read_for_what_it_is_worth(data: bytes) -> None:
    state(data)


def test_the_seeds_themselves_are_read() -> None:
    for each in seeds():
        state(each)
