"""Any request to the status pages and to the control socket: answered or dropped, and the next one is served."""

from __future__ import annotations

from hypothesis import given, settings

from fuzz.mutate import BUSY, mutated
from fuzz.requests import control_order, control_seeds, status, status_seeds


@settings(max_examples=70, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(status_seeds()))
def test_whatever_the_status_pages_are_asked_is_answered_or_dropped(data: bytes) -> None:
    status(data)


@settings(max_examples=70, deadline=10_000, suppress_health_check=BUSY)
@given(mutated(control_seeds()))
def test_whatever_is_ordered_at_the_control_socket_is_answered_or_dropped(data: bytes) -> None:
    control_order(data)


def test_the_seeds_themselves_are_answered() -> None:
    for each in status_seeds():
        status(each)
    for each in control_seeds():
        control_order(each)
