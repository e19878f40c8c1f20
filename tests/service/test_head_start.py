"""The power is back: the first start in a boot leaves others a moment, no other start waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from agent.lifecycle import head_start, power

JUST_BOOTED = 60_000  # milliseconds


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes, int], None]:
    """The machine has booted, under that name and so many milliseconds ago."""

    def boot(name: bytes, ago_ms: int) -> None:
        monkeypatch.setattr(power, "boot_id", lambda: name)
        monkeypatch.setattr(power, "boottime_ms", lambda: ago_ms)

    return boot


FIRST, SECOND = b"1" * 16, b"2" * 16


def test_a_site_is_spread_over_half_a_minute(tmp_path: Path, booted: Callable[[bytes, int], None]) -> None:
    pauses = []
    for n in range(200):
        state = tmp_path / f"{n}"
        state.mkdir()
        booted(FIRST, JUST_BOOTED)
        assert head_start(state, Random(n)) == 0.0  # nothing was here before: it is being set up
        booted(SECOND, JUST_BOOTED)
        pauses.append(head_start(state, Random(n)))
        assert head_start(state, Random(n)) == 0.0  # started again in the same boot
    assert min(pauses) < 2
    assert max(pauses) > power.SPREAD - 2
    assert max(pauses) <= power.SPREAD


def test_an_agent_that_somebody_starts_later_does_not_wait(
    tmp_path: Path, booted: Callable[[bytes, int], None]
) -> None:
    booted(FIRST, JUST_BOOTED)
    head_start(tmp_path, Random(1))
    booted(SECOND, round(power.JUST * 1000) + 1)
    assert head_start(tmp_path, Random(1)) == 0.0


def test_a_disk_that_takes_nothing_keeps_no_agent_from_starting(
    tmp_path: Path, booted: Callable[[bytes, int], None]
) -> None:
    booted(FIRST, JUST_BOOTED)
    assert head_start(tmp_path / "gone", Random(1)) == 0.0
