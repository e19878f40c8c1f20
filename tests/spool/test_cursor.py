"""Cursors: the books balance after every step, and a slot holds what a cursor may grow to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.spool import Cursor, Lane, State
from agent.spool.clock import Clock
from agent.spool.cursor import kept
from agent.spool.mark import Mark, room


def cursor(write: Any = None, **more: Any) -> Cursor:
    lane = Lane("all", Path("/nowhere"), [], 10_000, Clock())
    return Cursor(
        **{
            "sink": "lake",
            "lane": lane,
            "mark": Mark(Path("/nowhere/m")),
            "write": write,
            "start": 0,
            "position": 0,
            **more,
        }
    )


def test_the_settled_prefix_goes_into_the_ledger_and_no_further() -> None:
    one = cursor()
    plans = [one.plan(1, i * 10, 10, i) for i in range(3)]
    assert one.settle(plans[1], State.DELIVERED)
    assert (one.position, one.ledger.sum) == (0, 0)
    assert one.settle(plans[0], State.EXPIRED)
    assert (one.position, one.ledger.expired, one.ledger.delivered) == (20, 10, 10)
    assert one.plans == [plans[2]]
    assert one.planned_end == 30


def test_a_batch_that_waits_long_costs_no_room() -> None:
    one = cursor()
    stuck = one.plan(1, 0, 10, 1)
    room_left = one.room
    for i in range(1, 500):
        assert one.settle(one.plan(1, i * 10, 10, i), State.DELIVERED)
    assert one.room == room_left - 1
    one.settle(stuck, State.DEAD)
    assert (one.position, one.ledger.dead, one.ledger.delivered, one.plans) == (5000, 10, 4990, [])


def test_a_plan_begins_where_the_last_one_ended() -> None:
    one = cursor()
    one.plan(1, 0, 10, 1)
    for first in (0, 9, 11):
        with pytest.raises(ValueError, match="comes next"):
            one.plan(1, first, 10, 1)


def test_a_split_replaces_its_parent_whole() -> None:
    one = cursor()
    parent = one.plan(7, 0, 10, 1)
    after = one.plan(7, 10, 5, 2)
    with pytest.raises(ValueError, match="cover"):
        one.replace(parent, [(0, 5, 3), (6, 4, 4)])
    with pytest.raises(ValueError, match="cover"):
        one.replace(parent, [(0, 5, 3)])
    left, right = one.replace(parent, [(0, 4, 3), (4, 6, 4)])
    assert one.plans == [left, right, after]
    assert (left.segment, right.first, right.count, right.crc) == (7, 4, 6, 4)


def test_eviction_books_what_is_open_and_tells_delivery_first() -> None:
    one = cursor()
    told: list[tuple[int, int]] = []
    one.on_evict = lambda end: told.append((end, one.position))
    done, sent, planned = (one.plan(1, i * 10, 10, i) for i in range(3))
    sent.state = State.MAYBE
    one.settle(done, State.DELIVERED)
    assert one.give_up(50, State.EVICTED) == 40
    assert told == [(50, 10)]
    assert (one.position, one.ledger.evicted, one.ledger.evicted_maybe_taken, one.ledger.delivered) == (50, 40, 10, 10)
    # The answer to what was in flight comes too late to change the books.
    assert not one.settle(sent, State.DELIVERED)
    assert not one.settle(planned, State.DELIVERED)
    assert one.ledger.sum == one.position


def test_what_had_been_settled_out_of_order_is_not_evicted() -> None:
    one = cursor()
    plans = [one.plan(1, i * 10, 10, i) for i in range(2)]
    one.settle(plans[1], State.DELIVERED)
    assert one.give_up(20, State.EVICTED) == 10
    assert (one.ledger.delivered, one.ledger.evicted) == (10, 10)


def test_a_planned_batch_may_have_been_sent_when_it_is_found_again() -> None:
    one = cursor()
    one.plan(0xFFFFFFFFFFFFFFFF, 0, 10, 0xFFFFFFFF)
    one.settle(one.plan(1, 10, 10, 1), State.DEAD)
    found = kept(orjson.loads(orjson.dumps(one.encoded())))
    assert found is not None
    first, second = found.plans
    assert (first.segment, first.first, first.count, first.crc, first.state) == (
        2**64 - 1,
        0,
        10,
        2**32 - 1,
        State.MAYBE,
    )
    assert (second.first, second.count, second.state) == (10, 10, State.DEAD)


def test_a_full_cursor_fits_in_its_slot() -> None:
    one = cursor(
        sink="s" * 64,
        names=("n" * 64,),
        start=2**60,
        position=2**60,
        end=2**61,
        retired_ms=2**42,
        absorbed=("all", 2**60),
    )
    while one.room:
        one.plan(2**64 - 1, one.planned_end, 2**32 - 1, 2**32 - 1)
    assert len(one.plans) > 50
    for state in (State.EXPIRED, State.DAMAGED, State.EXPIRED, State.DAMAGED):
        one.book(2**32, state)
    for name in one.ledger.as_dict():
        setattr(one.ledger, name, 2**60)
    assert len(orjson.dumps(one.encoded())) <= room()
    with pytest.raises(ValueError, match="room"):
        one.plan(1, one.planned_end, 1, 1)


@given(
    st.dictionaries(
        st.sampled_from(["sink", "ledger", "plans", "position", "start"]), st.none() | st.integers(), min_size=1
    )
)
def test_a_slot_that_cannot_be_true_is_no_cursor(changes: dict[str, Any]) -> None:
    one = cursor()
    one.book(5, State.DELIVERED)
    value = one.encoded() | changes
    found = kept(value)
    assert found is None or found.position - found.start == found.ledger.sum


def test_saves_that_come_together_share_writes_and_each_is_covered() -> None:
    written: list[int] = []
    gate: asyncio.Event

    async def write(mark: Mark, value: Mapping[str, Any]) -> bool:
        await gate.wait()
        written.append(value["position"])
        return True

    async def main() -> None:
        nonlocal gate
        gate = asyncio.Event()
        one = cursor(write)
        saves = []
        for _ in range(20):
            one.book(1, State.DELIVERED)
            saves.append(asyncio.create_task(one.save()))
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*saves)
        assert written[-1] == one.saved == 20
        assert len(written) == 2
        assert not one.dirty

    asyncio.run(main())


class Books(RuleBasedStateMachine):
    """Any order of planning, splitting, settling, booking and evicting leaves every record with one fate."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor = cursor()
        self.fate: dict[int, State] = {}

    @precondition(lambda self: self.cursor.room > 0)
    @rule(count=st.integers(1, 9))
    def plan(self, count: int) -> None:
        self.cursor.plan(1, self.cursor.planned_end, count, 0)

    @rule(data=st.data(), state=st.sampled_from([State.DELIVERED, State.DEAD, State.EXPIRED, State.DAMAGED]))
    def settle(self, data: st.DataObject, state: State) -> None:
        open_ones = [plan for plan in self.cursor.plans if not plan.state.settled]
        if open_ones:
            plan = data.draw(st.sampled_from(open_ones))
            self.fate.update(dict.fromkeys(range(plan.first, plan.end), state))
            assert self.cursor.settle(plan, state)

    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        wide = [plan for plan in self.cursor.plans if not plan.state.settled and plan.count > 1]
        if wide and self.cursor.room > 0:
            plan = data.draw(st.sampled_from(wide))
            half = data.draw(st.integers(1, plan.count - 1))
            self.cursor.replace(plan, [(plan.first, half, 1), (plan.first + half, plan.count - half, 2)])

    @rule(count=st.integers(0, 9), state=st.sampled_from([State.EXPIRED, State.DAMAGED]))
    def book(self, count: int, state: State) -> None:
        start = self.cursor.planned_end
        self.fate.update(dict.fromkeys(range(start, start + count), state))
        self.cursor.book(count, state)

    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        # Batches never span a segment: the end of what is evicted is the end of a batch, or beyond all.
        ends = [plan.end for plan in self.cursor.plans] + [self.cursor.planned_end + 5]
        end = data.draw(st.sampled_from(ends))
        going = [i for i in range(self.cursor.position, end) if i not in self.fate]
        self.fate.update(dict.fromkeys(going, State.EVICTED))
        assert self.cursor.give_up(end, State.EVICTED) == len(going)

    @rule()
    def reopen(self) -> None:
        found = kept(orjson.loads(orjson.dumps(self.cursor.encoded())))
        assert found is not None
        self.cursor = cursor(start=found.start, position=found.position, plans=found.plans, ledger=found.ledger)

    @invariant()
    def it_balances(self) -> None:
        one = self.cursor
        assert one.position - one.start == one.ledger.sum
        settled = [self.fate[i] for i in range(one.start, one.position)]
        for state, booked in (
            (State.DELIVERED, one.ledger.delivered),
            (State.DEAD, one.ledger.dead),
            (State.EXPIRED, one.ledger.expired),
            (State.EVICTED, one.ledger.evicted),
            (State.DAMAGED, one.ledger.damaged),
        ):
            assert settled.count(state) == booked
        at = one.position
        for plan in one.plans:
            assert plan.first == at
            at = plan.end
            assert {self.fate.get(i) for i in range(plan.first, plan.end)} == {
                plan.state if plan.state.settled else None
            }
        assert not one.plans or not one.plans[0].state.settled


TestBooks = Books.TestCase
