"""How a run becomes batches, and how much may be sent: the pure parts."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery import Bodies
from agent.delivery.form import around, draft, halves
from agent.delivery.pulse import Pulse
from agent.delivery.window import SMALLEST, Window
from agent.errors import Unfit
from agent.ports import Limits, Parcel, Send
from agent.record import Run


def run_of(count: int, size: int = 10, first: int = 100) -> Run:
    records = [b"%0*d" % (size, n) for n in range(count)]
    return Run(0xABC, first, b",".join(records), array("I", map(len, records)), 5, 9)


class Plain:
    """Joins, and knows which records it cannot send or breaks over."""

    kind: ClassVar[str] = "plain"
    limits = Limits()

    def __init__(self, unfit: frozenset[int] = frozenset(), breaks: frozenset[int] = frozenset()) -> None:
        self.unfit, self.breaks = unfit, breaks

    def encode(self, run: Run) -> bytes:
        numbers = [int(record) for record in run.records()]
        if self.breaks & set(numbers):
            raise RuntimeError("broke")
        odd = {i: f"no {n}" for i, n in enumerate(numbers) if n in self.unfit}
        if odd:
            raise Unfit(odd)
        return run.body

    def pack(self, batch: str, newest_ms: int, data: bytes) -> bytes:
        return b"%b %d %b" % (batch.encode(), newest_ms, data)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        async def send(parcel: Parcel) -> None:
            return

        yield send


def test_a_batch_is_named_by_the_crc_of_its_data_before_the_envelope() -> None:
    [made] = draft(Plain(), run_of(3), 1000)
    assert made.crc == crc32(run_of(3).body)
    assert made.body == b"0000000000000abc-100-102-%08x 9 " % made.crc + run_of(3).body


@given(
    count=st.integers(1, 60),
    limit=st.integers(1, 700),
    unfit=st.frozensets(st.integers(0, 59)),
    breaks=st.frozensets(st.integers(0, 59), max_size=5),
)
def test_drafts_cover_the_run_in_order_within_the_limit(
    count: int, limit: int, unfit: frozenset[int], breaks: frozenset[int]
) -> None:
    drafts = draft(Plain(unfit, breaks), run_of(count), limit)
    place = 100
    for each in drafts:
        assert each.first == place
        place = each.end
        numbers = set(range(each.first - 100, each.end - 100))
        if each.unfit is not None:
            assert {index - 100 for index in each.unfit} == numbers
            assert numbers <= unfit
        elif each.bug is None:
            assert not numbers & (unfit | breaks)
            assert each.count == 1 or each.size <= limit
        elif len(drafts) > 1:
            assert each.count == 1
            assert numbers <= breaks
    assert place == 100 + count


def test_a_sink_that_breaks_over_everything_leaves_the_run_whole() -> None:
    [made] = draft(Plain(breaks=frozenset(range(10))), run_of(10), 1000)
    assert made.count == 10
    assert isinstance(made.bug, RuntimeError)


@given(st.integers(1, 50), st.sets(st.integers(0, 60), min_size=1), st.booleans())
def test_stretches_around_named_positions_cover_everything(count: int, named: set[int], alone: bool) -> None:
    if not any(position < count for position in named):
        with pytest.raises(ValueError, match="not among"):
            around(count, named)
        return
    stretches = around(count, named, alone=alone)
    assert [position for start, stop in stretches for position in range(start, stop)] == list(range(count))
    for start, stop in stretches:
        assert len({position in named for position in range(start, stop)}) == 1
        if alone and start in named:
            assert stop == start + 1


def test_halves_differ_by_one_at_most() -> None:
    assert halves(500) == [(0, 250), (250, 500)]
    assert halves(3) == [(0, 2), (2, 3)]


def test_the_window_shrinks_at_once_and_grows_slowly_up_to_what_is_configured() -> None:
    window = Window(100_000)
    assert window.too_large(80_000)
    assert window.size == 40_000
    assert not window.too_large(80_000)  # another one of the same size teaches nothing new
    for _ in range(100):
        window.accepted()
    assert window.size == 44_000
    for _ in range(5000):
        window.accepted()
    assert window.size == 100_000
    for _ in range(50):
        window.too_large(window.size)
    assert window.size == SMALLEST


def test_bodies_beyond_the_share_of_a_sink_are_not_kept_but_one_is_always_granted() -> None:
    bodies = Bodies(200)
    hanging, other = bodies.share(), bodies.share()
    assert hanging.take(80)
    assert not hanging.take(30)
    assert hanging.take(30, sure=True)
    assert other.take(100)
    assert bodies.held == 210
    hanging.give(80)
    assert hanging.take(70)


def test_a_pulse_wakes_all_who_wait_and_forgets_who_gave_up() -> None:
    async def main() -> None:
        pulse = Pulse()
        waiting = [asyncio.create_task(pulse.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        pulse.stir()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting, return_exceptions=True)
        assert [task.cancelled() for task in waiting] == [True, False, False]

    asyncio.run(main())
