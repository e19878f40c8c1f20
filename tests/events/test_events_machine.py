"""The state machine of a rule: what holds for any samples in any order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agent.events.machine import HOUR_MS, Budget, Instance


@dataclass
class Sample:
    asks: bool
    at: int
    arrival: int


def taken(instance: Instance, samples: list[Sample], *, lasting: int = 0, hold: int = 0) -> list[int]:
    """The samples at which the state changed; what a sample asks for is what a condition over a value would."""
    return [
        n
        for n, sample in enumerate(samples)
        if instance.take(
            asks=sample.asks is not instance.is_firing,
            at=sample.at,
            arrival=sample.arrival,
            lasting=lasting,
            hold=hold,
        )
    ]


def series(*rows: tuple[bool, int]) -> list[Sample]:
    """Samples whose condition holds or not, each arriving when it was taken."""
    return [Sample(is_met, at, at) for is_met, at in rows]


any_samples = st.lists(st.builds(Sample, st.booleans(), st.integers(0, 5000), st.integers(0, 5000)), max_size=40)
in_order = st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=40).map(
    lambda rows: [
        Sample(is_met, sum(step for _, step in rows[: n + 1]), sum(step for _, step in rows[: n + 1]))
        for n, (is_met, _) in enumerate(rows)
    ]
)
times = st.integers(0, 400)
late_ones = st.lists(st.tuples(st.integers(0, 39), st.booleans(), st.integers(1, 5000)), max_size=10)


def reference(samples: list[Sample], lasting: int, hold: int) -> list[int]:
    """The same, written down as one would explain it: for samples that come in order."""
    changes: list[int] = []
    is_firing, changed = False, None
    for n, sample in enumerate(samples):
        wants = sample.asks
        if wants is is_firing:
            continue
        since = n
        while since > 0 and samples[since - 1].asks is wants and (not changes or since - 1 > changes[-1]):
            since -= 1
        if not is_firing and sample.at - samples[since].at < lasting:
            continue
        if changed is not None and sample.at - changed < hold:
            continue
        is_firing, changed = wants, sample.at
        changes.append(n)
    return changes


@given(in_order, times, times)
def test_samples_in_order_change_the_state_as_the_rule_reads(samples: list[Sample], lasting: int, hold: int) -> None:
    assert taken(Instance(), samples, lasting=lasting, hold=hold) == reference(samples, lasting, hold)


@given(any_samples, times, times)
def test_samples_in_any_order_never_break_it(samples: list[Sample], lasting: int, hold: int) -> None:
    instance = Instance()
    changes = taken(instance, samples, lasting=lasting, hold=hold)
    assert instance.is_firing is bool(len(changes) % 2)
    assert instance.newest is None or instance.newest <= instance.arrived
    for n in changes:
        # Whatever came before: a state changes only at a sample that asks for it.
        assert samples[n].asks is (changes.index(n) % 2 == 0)


@given(
    in_order, times, times, st.lists(st.tuples(st.integers(0, 39), st.booleans(), st.integers(1, 5000)), max_size=10)
)
def test_samples_that_are_late_change_nothing(
    samples: list[Sample], lasting: int, hold: int, late: list[tuple[int, bool, int]]
) -> None:
    mixed: list[Sample] = []
    for n, sample in enumerate(samples):
        mixed.append(sample)
        mixed += [Sample(asks, sample.at - by, sample.arrival) for place, asks, by in late if place == n]
    one, other = Instance(), Instance()
    plain = [samples[n] for n in taken(one, samples, lasting=lasting, hold=hold)]
    assert [mixed[n] for n in taken(other, mixed, lasting=lasting, hold=hold)] == plain


@given(in_order, times, times, st.integers(0, 40), st.integers(1, 100_000))
def test_a_clock_that_is_set_back_changes_nothing(
    samples: list[Sample], lasting: int, hold: int, place: int, by: int
) -> None:
    shifted = [
        sample if n < place else Sample(sample.asks, sample.at - by, sample.arrival - by)
        for n, sample in enumerate(samples)
    ]
    # The step itself may cost what lay between two samples, and no more: time never runs backwards.
    one, other = Instance(), Instance()
    changes, after = taken(one, samples, lasting=0, hold=0), taken(other, shifted, lasting=0, hold=0)
    assert changes == after
    other = Instance()
    taken(other, shifted, lasting=lasting, hold=hold)
    assert other.newest is None or other.newest <= other.arrived


def test_a_device_whose_clock_is_ahead_does_not_hold_up_the_others_time() -> None:
    instance = Instance()
    samples = [Sample(True, 9_000_000, 1000), Sample(True, 1500, 1500), Sample(True, 2000, 2000)]
    assert taken(instance, samples, lasting=1000) == [2]


def test_it_fires_only_after_samples_have_asked_long_enough_without_a_break() -> None:
    instance = Instance()
    assert taken(
        instance, series((True, 0), (True, 50), (False, 60), (True, 70), (True, 160), (True, 170)), lasting=100
    ) == [5]
    assert instance.began == 70


def test_a_state_is_kept_for_the_least_time_that_was_asked_for() -> None:
    samples = series((True, 0), (False, 10), (False, 99), (False, 100), (True, 150), (True, 200))
    assert taken(Instance(), samples, hold=100) == [0, 3, 5]


def test_one_sample_that_says_otherwise_ends_what_had_begun_to_be_asked() -> None:
    instance = Instance()
    taken(instance, series((True, 0), (False, 10)), lasting=100)
    assert instance.asked is None
    assert instance.is_resting(20, 0)


@given(st.lists(st.integers(0, 3 * HOUR_MS), max_size=60), st.integers(1, 10))
def test_within_any_hour_a_budget_gives_no_more_than_it_has(moments: list[int], most: int) -> None:
    budget = Budget(most)
    given_at = [now for now in sorted(moments) if budget.take(now)]
    for start in given_at:
        assert sum(start <= now < start + HOUR_MS for now in given_at) <= most


def test_a_budget_outlives_a_clock_that_is_set_back() -> None:
    budget = Budget(1)
    assert budget.take(10 * HOUR_MS)
    assert not budget.take(10 * HOUR_MS + 1)
    assert budget.take(5 * HOUR_MS)
