"""Lanes against plain lists (lists.py), through kills under each setting of durability, and through power cuts."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from lists import LanesAgainstLists


class ThroughPowerCuts(LanesAgainstLists):
    """Whole files and names are lost that nobody synced, and what is half written is half there."""

    @rule(back=st.integers(0, 80), seed=st.integers(0, 1 << 32))
    def cut_power(self, back: int, seed: int) -> None:
        self.crash("power_cut", back, seed)


class ThroughKillsSyncedAtIntervals(LanesAgainstLists):
    """What was written is there after a kill, synced or not."""

    durability = "interval"


class ThroughKillsNeverSynced(LanesAgainstLists):
    durability = "none"


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


ThroughPowerCuts.TestCase.settings = _settings(25)
ThroughKillsSyncedAtIntervals.TestCase.settings = _settings(8)
ThroughKillsNeverSynced.TestCase.settings = _settings(8)

TestThroughPowerCuts = ThroughPowerCuts.TestCase
TestThroughKillsSyncedAtIntervals = ThroughKillsSyncedAtIntervals.TestCase
TestThroughKillsNeverSynced = ThroughKillsNeverSynced.TestCase
