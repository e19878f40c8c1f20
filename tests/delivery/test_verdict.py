"""The rules of blame, without a socket: a simulated far side that refuses what it is told to."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.delivery.piece import Piece
from agent.delivery.verdict import LONGEST_PAUSE, Verdict
from agent.errors import AuthExpired, Rejected, Retryable, Throttled, TooLarge
from agent.spool import Cursor, Plan, State

NOBODY = cast("Cursor", None)  # the verdict never looks at it
REFUSED = Rejected("no", status=400)
BROKEN = Retryable("broken", status=500, ambiguous=True)


def piece(first: int, count: int) -> Piece:
    return Piece(NOBODY, Plan(1, first, count, 0, State.PLANNED), 0)


@dataclass
class World:
    """Sends what the verdict names, one answer at a time, and skips to when it may go on."""

    verdict: Verdict
    bad: Callable[[int], bool]
    fresh: list[tuple[int, int]] = field(default_factory=list)
    everything_refused: bool = False
    now: float = 0.0
    requests: int = 0
    taken: set[int] = field(default_factory=set)
    convicted: set[int] = field(default_factory=set)

    def feed(self, low: int = 2) -> None:
        while self.fresh and self.verdict.untried() < low:
            if self.verdict.probing and sum(not each.isolating for each in self.verdict.pieces) >= 6:
                return  # as the loop does: enough to try one after the other
            first, count = self.fresh.pop(0)
            self.verdict.add([piece(first, count)])

    def step(self) -> bool:
        """One request, or a skip to the next one; False when nothing can ever happen again."""
        self.feed()
        each = self.verdict.next(self.now)
        if each is None:
            due = self.verdict.due(self.now)
            if math.isinf(due):
                return False
            self.now += due + 1e-9
            return True
        self.requests += 1
        records = range(each.first, each.first + each.count)
        if not self.everything_refused and not any(map(self.bad, records)):
            assert not self.taken & set(records), "sent twice"
            self.taken |= set(records)
            for guilty in self.verdict.accepted(each, self.now):
                assert guilty.count == 1
                self.convicted.add(guilty.first)
        elif self.verdict.refused(each, REFUSED, self.now):
            self.split(each)
        elif each.convicted:
            self.convicted.add(each.first)
        return True

    def split(self, each: Piece) -> None:
        self.verdict.forget(each)
        left = (each.count + 1) // 2
        children = [piece(each.first, left), piece(each.first + left, each.count - left)]
        for child in children:
            self.verdict.inherit(each, child, refused=True)
        self.verdict.add(children)

    def run(self, enough: Callable[[], bool], most: int = 100_000) -> None:
        for _ in range(most):
            if enough() or not self.step():
                return
        raise AssertionError("it goes on for ever")


def world(bad: Callable[[int], bool], *, batches: int, size: int, in_flight: int = 1, seed: int = 0) -> World:
    made = World(Verdict(in_flight=in_flight, rng=Random(seed)), bad)
    made.fresh = [(i * size, size) for i in range(batches)]
    return made


@given(
    bad=st.sets(st.integers(0, 119)),
    size=st.sampled_from([1, 2, 8, 40, 120]),
    in_flight=st.sampled_from([1, 4]),
    seed=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_exactly_the_bad_records_are_convicted_when_good_ones_follow(
    bad: set[int], size: int, in_flight: int, seed: int
) -> None:
    made = world(bad.__contains__, batches=120 // size, size=size, in_flight=in_flight, seed=seed)
    # Good records that trickle in later, one at a time, each only when nothing else is left to do.
    later = iter(range(10_000, 20_000))

    def done() -> bool:
        return made.convicted == bad and made.taken >= set(range(120)) - bad

    for _ in range(3000):
        for _ in range(40):
            if done() or not made.step():
                break
        if done():
            break
        made.fresh.append((next(later), 1))
    assert made.convicted == bad
    assert made.taken.isdisjoint(bad)
    assert done()


@given(size=st.sampled_from([1, 3, 50, 500]), batches=st.integers(1, 12), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_nothing_is_convicted_while_everything_is_refused_and_all_is_taken_when_it_relents(
    size: int, batches: int, seed: int
) -> None:
    made = world(lambda n: False, batches=batches, size=size, seed=seed)
    made.everything_refused = True
    while made.now < 600:
        assert made.step()
    assert not made.convicted
    assert made.verdict.standing == "refusing"
    # The first requests find it out; from then on it is a probe every so often.
    assert made.requests < 25 + 120
    made.everything_refused = False
    made.run(lambda: len(made.taken) == batches * size)
    assert not made.convicted
    assert made.verdict.standing == "up"


@given(
    size=st.sampled_from([1, 2, 3, 50, 500]),
    batches=st.integers(1, 8),
    in_flight=st.sampled_from([1, 4]),
    refused=st.integers(1, 40),
    seed=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_a_moment_in_which_everything_is_refused_convicts_nothing_however_short(
    size: int, batches: int, in_flight: int, refused: int, seed: int
) -> None:
    made = world(lambda n: False, batches=batches, size=size, in_flight=in_flight, seed=seed)
    made.everything_refused = True
    while made.requests < refused:
        assert made.step()
    made.everything_refused = False
    made.run(lambda: len(made.taken) == batches * size)
    assert len(made.taken) == batches * size
    assert not made.convicted


@pytest.mark.parametrize("guilty", [0, 1, 249, 250, 333, 498])
def test_one_bad_record_among_500_costs_at_most_20_requests(guilty: int) -> None:
    made = world(lambda n: n == guilty, batches=1, size=500)
    made.run(lambda: made.convicted == {guilty} and len(made.taken) == 499)
    assert made.convicted == {guilty}
    assert made.requests <= 20


def test_the_last_record_of_all_waits_for_contrast_and_is_convicted_by_it() -> None:
    made = world(lambda n: n == 499, batches=1, size=500)
    made.run(lambda: any(each.accused for each in made.verdict.pieces))
    assert len(made.taken) == 499
    assert not made.convicted
    made.fresh.append((500, 1))
    made.run(lambda: bool(made.convicted))
    assert made.convicted == {499}


def test_a_whole_batch_of_bad_records_is_convicted_while_good_batches_flow() -> None:
    made = world(lambda n: n < 64, batches=200, size=64)
    made.run(lambda: len(made.convicted) == 64)
    assert made.convicted == set(range(64))
    assert made.now < 600  # by contrast, not by waiting


def test_the_one_good_record_among_many_bad_ones_is_found() -> None:
    made = world(lambda n: n != 150, batches=1, size=200)
    made.run(lambda: made.taken == {150}, most=2000)
    assert made.taken == {150}


def test_bad_records_in_a_row_do_not_look_like_refusing_while_good_batches_wait() -> None:
    made = world(lambda n: n < 14, batches=60, size=8)
    while len(made.convicted) < 14:
        assert made.step()
        assert made.verdict.standing == "up"
    assert made.convicted == set(range(14))


def test_an_acceptance_that_was_sent_before_the_failure_is_no_contrast() -> None:
    verdict = Verdict(in_flight=2, rng=Random(0))
    verdict.add([piece(0, 1), piece(1, 1), piece(2, 1)])
    first, second = verdict.next(0), verdict.next(0)
    assert first is not None
    assert second is not None
    assert not verdict.refused(first, REFUSED, 0)
    assert verdict.accepted(second, 0) == []
    third = verdict.next(0)
    assert third is not None
    assert not first.contrasted
    assert verdict.accepted(third, 0) == []
    assert first.contrasted
    assert verdict.next(0) is first
    assert not verdict.refused(first, REFUSED, 0)
    assert first.convicted


def test_three_refusals_alone_without_an_acceptance_are_refusing_and_void_the_accusations() -> None:
    made = world(lambda n: False, batches=3, size=1)
    made.everything_refused = True
    for _ in range(3):
        assert made.verdict.standing == "up"
        made.step()
    assert made.verdict.standing == "refusing"
    assert not any(each.accused for each in made.verdict.pieces)


def test_while_refusing_each_probe_is_a_different_piece() -> None:
    made = world(lambda n: False, batches=4, size=8)
    made.everything_refused = True
    made.run(lambda: made.verdict.standing == "refusing")
    pieces = len(made.verdict.pieces)
    probed = []
    while len(probed) < pieces:
        each = made.verdict.next(made.now)
        if each is None:
            made.now += made.verdict.due(made.now) + 1e-9
            continue
        assert made.verdict.next(made.now) is None  # one at a time
        probed.append(each)
        assert not made.verdict.refused(each, REFUSED, made.now)
    assert len(set(probed)) == pieces


def test_a_suspect_is_blamed_after_five_failures_with_successes_of_others_between() -> None:
    # A batch of 8 that gives 500s as long as record 5 is in it, and good records beside it.
    made = world(lambda n: False, batches=0, size=1)
    made.verdict.add([piece(0, 8)])
    made.fresh = [(100 + i, 1) for i in range(500)]
    verdict, failed_whole, failed_alone, failed_parts = made.verdict, 0, 0, 0
    for _ in range(2000):
        made.feed()
        each = verdict.next(made.now)
        if each is None:
            made.now += verdict.due(made.now) + 1e-9
            continue
        if each.first <= 5 < each.first + each.count:
            failed_whole += each.count == 8
            failed_alone += each.count == 1
            failed_parts += each.count in (2, 4)
            if verdict.ambiguous(each, BROKEN, made.now):
                assert each.count < 8 or failed_whole == 5
                made.split(each)
        else:
            made.convicted |= {guilty.first for guilty in verdict.accepted(each, made.now)}
        if made.convicted:
            break
        made.now += 0.5
    assert made.convicted == {5}
    assert failed_whole == 5
    # Blame is inherited for splitting, never for accusing.
    assert failed_parts <= 5
    assert failed_alone >= 5
    assert verdict.standing == "up"


def test_failures_without_a_success_of_others_between_are_no_blame() -> None:
    verdict = Verdict(in_flight=16, rng=Random(0))
    verdict.add([piece(0, 8)])
    now = 0.0
    for _ in range(100):
        now += verdict.due(now) + 1e-9
        each = verdict.next(now)
        assert each is not None
        assert not verdict.ambiguous(each, BROKEN, now)
        assert each.strikes == 1


def test_ambiguous_failures_of_everything_are_an_outage_and_blame_nobody() -> None:
    made = world(lambda n: False, batches=20, size=10)
    verdict = made.verdict
    tries: list[float] = []
    while made.now < 86_400:
        made.feed()
        each = verdict.next(made.now)
        if each is None:
            made.now += verdict.due(made.now) + 1e-9
            continue
        assert verdict.next(made.now) is None
        tries.append(made.now)
        assert not verdict.ambiguous(each, BROKEN, made.now)
    assert verdict.standing == "down"
    assert len(verdict.pieces) < 10
    assert max(b - a for a, b in itertools.pairwise(tries)) <= 60.1
    assert len(tries) < 86_400 / 20
    made.run(lambda: len(made.taken) == 200)
    assert not made.convicted


def test_a_far_side_that_cannot_be_reached_is_probed_with_one_piece_by_backoff() -> None:
    made = world(lambda n: False, batches=6, size=10, in_flight=4)
    verdict = made.verdict
    made.feed(low=6)
    started = [verdict.next(0.0) for _ in range(4)]
    for each in started:
        assert each is not None
        verdict.unreachable(each, Retryable("refused"), 0.0)
    # Four failures of one moment are one: the backoff does not jump ahead.
    assert verdict.outage is not None
    assert verdict.outage.misses == 0
    assert 0 < verdict.due(0.0) <= 1.0
    made.now = verdict.due(0.0) + 1e-9
    probe = verdict.next(made.now)
    assert probe is not None
    assert verdict.next(made.now) is None
    assert verdict.accepted(probe, made.now) == []
    assert [verdict.next(made.now) is not None for _ in range(5)] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (120.0, 120.0, 180.0),
        (0.0, 0.0, 1.0),
        (-5.0, 0.0, 1.0),
        (math.nan, 0.0, 1.0),
        (math.inf, LONGEST_PAUSE, LONGEST_PAUSE + 60),
        (1e300, LONGEST_PAUSE, LONGEST_PAUSE + 60),
    ],
)
def test_a_throttle_is_obeyed_and_an_absurd_one_capped(asked: float, low: float, high: float) -> None:
    verdict = Verdict(in_flight=1, rng=Random(0))
    verdict.add([piece(0, 1)])
    each = verdict.next(0.0)
    assert each is not None
    verdict.throttled(each, Throttled("later", retry_after=asked), asked, 0.0)
    assert low <= verdict.due(0.0) <= high + 1e-6


def test_agents_that_were_told_the_same_pause_do_not_come_back_together() -> None:
    back = []
    for seed in range(1000):
        verdict = Verdict(in_flight=1, rng=Random(seed))
        verdict.add([piece(0, 1)])
        each = verdict.next(0.0)
        assert each is not None
        verdict.throttled(each, Throttled("later", retry_after=60.0), 60.0, 0.0)
        back.append(verdict.due(0.0))
    assert min(back) >= 60.0
    assert max(Counter(map(int, back)).values()) <= 3 * 1000 / (max(back) - min(back))


def test_an_answer_to_what_was_under_way_ends_no_pause() -> None:
    verdict = Verdict(in_flight=4, rng=Random(0))
    verdict.add([piece(n, 4) for n in range(4)] + [piece(99, 1)])
    first, second, third, fourth = (verdict.next(0.0) for _ in range(4))
    assert first is not None
    assert second is not None
    assert third is not None
    assert fourth is not None
    verdict.unreachable(first, Retryable("unavailable", status=503), 0.0)
    verdict.throttled(second, Throttled("later", retry_after=60.0), 60.0, 0.0)
    assert verdict.accepted(third, 0.1) == []
    assert verdict.refused(fourth, REFUSED, 0.1)
    assert verdict.next(0.2) is None
    assert verdict.pause(0.1) >= 59.0
    assert verdict.due(0.1) >= 59.0
    # What was sent after the pause ends the outage, as ever.
    after = verdict.next(200.0)
    assert after is not None
    assert verdict.accepted(after, 200.0) == []
    assert verdict.standing == "up"


def test_refused_credentials_are_probed_slowly_but_first_soon() -> None:
    verdict = Verdict(in_flight=1, rng=Random(0))
    verdict.add([piece(0, 1)])
    now, gaps = 0.0, []
    for _ in range(2000):  # days: the backoff must not overflow
        each = verdict.next(now)
        assert each is not None
        verdict.needs_operator(each, AuthExpired("no"), now)
        gaps.append(verdict.due(now))
        now += gaps[-1] + 1e-9
    assert verdict.outage is not None
    assert verdict.outage.operator
    assert gaps[0] <= 1.0
    assert max(gaps) <= 60.0
    assert sum(gaps[5:]) / len(gaps[5:]) > 20


def test_too_large_is_split_even_while_refusing_and_alone_it_is_a_refusal() -> None:
    verdict = Verdict(in_flight=1, rng=Random(0))
    large, single = piece(0, 4), piece(4, 1)
    verdict.add([large, single])
    assert verdict.next(0) is large
    assert verdict.too_large(large, TooLarge("x"), 0)
    verdict.forget(large)
    assert verdict.next(0) is single
    assert not verdict.too_large(single, TooLarge("x"), 0)
    assert single.accused
