"""Any text, any bytes, as agent.toml: a configuration, or everything that is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from fuzz.configs import config, seeds, written
from fuzz.mutate import BUSY, mutated


@settings(max_examples=100, deadline=10_000, suppress_health_check=BUSY)
@given(written())
def test_a_file_with_odd_values_is_read_or_refused_with_places(data: bytes) -> None:
    config(data)


@settings(max_examples=40, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(seeds()))
def test_a_file_that_was_cut_and_mixed_up_is_read_or_refused_with_places(data: bytes) -> None:
    config(data)


@pytest.mark.parametrize(
    "value",
    ["1" * 5000, "[" * 2000 + "]" * 2000, "{ a = " * 600 + "1" + " }" * 600, "[" * 300 + "]" * 300],
    ids=["5000 digits", "2000 brackets", "600 tables", "300 brackets"],
)
def test_what_the_toml_reader_itself_gives_up_on_is_a_mistake_with_a_place(value: str) -> None:
    config(f'[collectors.host]\ntype = "host"\n[sinks.screen]\ntype = "stdout"\nx = {value}\n'.encode())


def test_the_seeds_are_right() -> None:
    for seed in seeds()[1:]:
        config(seed)
