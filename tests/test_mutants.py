"""The mutations of tests/mutants.toml still fit the source, and each promise has one."""

from __future__ import annotations

import pytest
from mutants import PROJECT, Mutant, changed, mutants


@pytest.mark.parametrize("mutant", [pytest.param(each, id=each.id) for each in mutants()])
def test_what_is_to_be_changed_stands_there_once(mutant: Mutant) -> None:
    path = PROJECT / mutant.file
    compile(changed(mutant, path.read_text()), mutant.file, "exec")
    assert (PROJECT / mutant.test.partition("::")[0]).exists()


def test_each_promise_has_a_mutation() -> None:
    assert {mutant.promise for mutant in mutants()} == set(range(1, 9))
