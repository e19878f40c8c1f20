"""What is believed of a far side's clock, and what is not."""

from __future__ import annotations

import time

import pytest

from agent.far_clock import AGREE, WORTH_CORRECTING, FarClock

FAR = "https://far.example/x"


def date(offset: float) -> float:
    """A Date header's value, whole seconds, of a clock that is so far off."""
    return float(int(time.time() + offset))


def test_one_answer_is_not_enough_two_that_agree_are() -> None:
    clock = FarClock("far")
    assert not clock.learn(date(600), FAR)
    assert clock.offset == 0.0
    assert clock.learn(date(604), FAR)
    assert clock.offset == pytest.approx(604, abs=2)
    assert clock.now_ms() == pytest.approx((time.time() + 604) * 1000, abs=2500)


def test_two_that_differ_prove_nothing() -> None:
    clock = FarClock("far")
    assert not clock.learn(date(600), FAR)
    assert not clock.learn(date(600 + 2 * AGREE), FAR)
    assert clock.offset == 0.0
    assert clock.learn(date(600 + 2 * AGREE), FAR)


def test_a_refusal_of_our_credentials_is_enough_by_itself() -> None:
    clock = FarClock("far")
    assert clock.learn(date(-600), FAR, refused=True)
    assert clock.offset == pytest.approx(-600, abs=2)
    assert not clock.learn(date(-603), FAR, refused=True), "nothing new: signing again would be refused again"


def test_what_the_network_may_have_made_up_is_not_believed() -> None:
    clock = FarClock("far")
    for _ in range(3):
        assert not clock.learn(date(600), "http://far.example", refused=True)
    assert clock.learn(date(600), "http://127.0.0.1:8080", refused=True)


def test_small_differences_and_answers_without_a_date_change_nothing() -> None:
    clock = FarClock("far")
    for _ in range(3):
        assert not clock.learn(date(WORTH_CORRECTING - 2), FAR, refused=True)
        assert not clock.learn(None, FAR, refused=True)
    assert clock.offset == 0.0


def test_a_clock_that_is_set_right_is_no_longer_corrected() -> None:
    clock = FarClock("far")
    clock.learn(date(600), FAR, refused=True)
    assert not clock.learn(date(0), FAR)
    assert clock.learn(date(1), FAR)
    assert clock.offset == 0.0
