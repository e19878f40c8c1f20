"""
A lane against a plain list: whatever is appended, read, settled, evicted, torn and reopened.

A crash is a copy of the directory at that moment, with what was never acknowledged torn in every way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from array import array
from contextlib import AsyncExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from spooling import everything, opened, part, records, temporary

from agent.record import Run
from agent.spool import Cursor, Kind, Reader, Spool, State, audit
from agent.spool.frame import Stamp, draft
from agent.spool.mark import SLOT_BYTES, Mark
from agent.spool.settings import KIB

SINKS = ("lake", "file", "notes")
FATES = [State.DELIVERED, State.EXPIRED]


class LaneAgainstList(RuleBasedStateMachine):
    plans = Bundle("plans")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.scratch = temporary()
        self.place = Path(self.scratch.name) / "state"
        self.generation = 0
        self.list: list[bytes] = []  # everything ever acknowledged, by index
        self.extra = 0  # records beyond it that a crash may or may not have kept
        self.evicted = 0
        # What the last durable save of each cursor said.
        self.saved: dict[str, tuple[int, dict[str, int]]] = {}
        self.stack = AsyncExitStack()
        self.spool: Spool

    def wait(self, work: object) -> object:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))  # type: ignore[arg-type]

    @initialize()
    def start(self) -> None:
        async def enter() -> Spool:
            readers = [Reader(sink, "all") for sink in SINKS]
            return await self.stack.enter_async_context(
                opened(self.place, *readers, max_bytes=24 * KIB, segment_bytes=4 * KIB)
            )

        self.spool = self.wait(enter())  # type: ignore[assignment]
        self.lane = self.spool.lanes["all"]
        for sink in SINKS:
            cursor = self.cursor(sink)
            position, ledger = self.saved.get(sink, (0, cursor.ledger.as_dict()))
            assert cursor.position >= position
            assert all(cursor.ledger.as_dict()[name] >= count for name, count in ledger.items())
            self.note(cursor)

    def teardown(self) -> None:
        try:
            self.wait(self.stack.aclose())
            report = audit(self.place)
            assert report.balanced, report.findings
        finally:
            self.loop.close()
            self.scratch.cleanup()

    def cursor(self, sink: str) -> Cursor:
        return self.spool.cursors(sink)[-1]

    def note(self, cursor: Cursor) -> None:
        self.saved[cursor.sink] = (cursor.position, cursor.ledger.as_dict())

    @rule(count=st.integers(1, 40), size=st.integers(30, 300), parts=st.integers(1, 3))
    def append(self, count: int, size: int, parts: int) -> None:
        self.settle_room()

        async def go() -> None:
            futures = []
            for _ in range(parts):
                data = records(count, len(self.list), size)
                futures.append(self.spool.append([part(data)]))
                self.list += data
            await asyncio.gather(*futures)

        self.wait(go())
        assert self.lane.head == len(self.list)
        assert self.spool.bytes <= 24 * KIB + 4 * KIB + 13_000  # a segment, or a frame that is larger
        self.settle_room()

    def settle_room(self) -> None:
        """Let the janitor bring the spool below its limit, and see what it gave up."""

        async def go() -> None:
            while self.spool.bytes > 24 * KIB:
                await self.spool._works.janitor._make_room()
                await asyncio.sleep(0.001)
            await self.spool._works.janitor._make_room()

        self.wait(go())
        self.evicted = max(self.evicted, self.lane.evicted)
        for sink in SINKS:
            assert self.cursor(sink).position >= self.evicted

    @rule(target=plans, sink=st.sampled_from(SINKS), count=st.integers(1, 60), size=st.integers(1, 9000))
    def plan(self, sink: str, count: int, size: int) -> object:
        cursor = self.cursor(sink)
        at = cursor.planned_end
        got = self.wait(self.lane.read(at, count, size))
        if got is None or cursor.room < 1:
            assert at == self.lane.head or cursor.room < 1
            return multiple()
        assert isinstance(got, Run)
        assert (got.first, got.records()) == (at, self.list[at : got.end])
        assert 1 <= got.count <= count
        assert len(got.body) <= size or got.count == 1
        plan = cursor.plan(got.segment_id, got.first, got.count, 0)
        self.wait(cursor.save())
        self.note(cursor)
        return (self.generation, sink, plan)

    @rule(chosen=plans, fate=st.sampled_from(FATES), save=st.booleans())
    def settle(self, chosen: tuple[int, str, object], fate: State, save: bool) -> None:
        generation, sink, plan = chosen
        if generation != self.generation:
            return
        cursor = self.cursor(sink)
        cursor.settle(plan, fate)  # type: ignore[arg-type]
        if save:
            self.wait(cursor.save())
            self.note(cursor)

    @rule(sink=st.sampled_from(SINKS))
    def settle_all_found(self, sink: str) -> None:
        cursor = self.cursor(sink)
        for plan in list(cursor.plans):
            cursor.settle(plan, State.DELIVERED)
        assert cursor.plans == []

    @rule()
    def rotate(self) -> None:
        self.lane.seal = True
        self.spool._works.writer.kick()

    @rule()
    def tick(self) -> None:
        async def go() -> None:
            await self.spool._works.janitor._tick()
            await self.spool._works.janitor._make_room()
            for sink in SINKS:
                await self.cursor(sink).save()

        self.wait(go())
        for sink in SINKS:
            self.note(self.cursor(sink))

    @rule()
    def stop_and_start(self) -> None:
        self.wait(self.stack.aclose())
        for sink in SINKS:
            self.note(self.cursor(sink))
        self.restart()

    @precondition(lambda self: len(self.list) > 0)
    @rule(data=st.data(), torn_cursor=st.booleans())
    def crash(self, data: st.DataObject, torn_cursor: bool) -> None:
        """The power goes: what was acknowledged is there, what was being written is there in part."""
        copy = self.place.with_name(f"state-{self.generation}")
        shutil.copytree(self.place, copy)
        paths = sorted((copy / "lanes" / "all").glob("*.seg"))
        kept = 0
        segment = self.lane.active
        if segment is not None:
            assert segment.path.name == paths[-1].name
            group = [b'{"unacknowledged":%d}' % i for i in range(data.draw(st.integers(0, 3)))]
            frames = []
            for place, record in enumerate(group):
                one = draft(Kind.RECORDS, Stamp(1, 1, 1, 1), b"x", record, array("I", [len(record)]))
                frames.append(one.header(segment.id, 1 << 40, len(self.list) + place) + one.columns + one.body)
            tail = b"".join(frames)
            how = data.draw(st.sampled_from(["whole", "cut", "zeros", "random"]))
            if how == "whole":
                kept = len(group)
            elif how == "cut" and tail:
                at = data.draw(st.integers(0, len(tail) - 1))
                kept = at // len(frames[0])
                tail = tail[:at]
            elif how == "zeros":
                tail = bytes(len(tail))
            else:
                tail = os.urandom(100)
            with open(paths[-1], "ab") as file:
                file.write(tail)
            self.tail = group[:kept]
        if torn_cursor:
            path = copy / "lanes" / "all" / f"{data.draw(st.sampled_from(SINKS))}.cursor"
            mark = Mark(path)
            mark.load()
            whole = bytearray(path.read_bytes())
            # A save was under way: it goes to the older slot.
            slot = (mark._generation + 1) % 2 * SLOT_BYTES
            whole[slot : slot + SLOT_BYTES] = os.urandom(300).ljust(SLOT_BYTES, b"\0")
            path.write_bytes(whole)
        self.wait(self.stack.aclose())
        shutil.rmtree(self.place)
        self.place = copy
        self.list += self.tail if kept else []
        self.restart()
        assert self.lane.head == len(self.list)

    def restart(self) -> None:
        self.generation += 1
        self.stack = AsyncExitStack()
        self.start()

    @invariant()
    def everything_acknowledged_is_there(self) -> None:
        if not hasattr(self, "spool"):
            return
        low = min(self.cursor(sink).position for sink in SINKS)
        found, gaps = self.wait(everything(self.lane, max(low, self.lane.first)))  # type: ignore[misc]
        assert gaps == []
        first = max(low, self.lane.first)
        assert list(found.values()) == self.list[first:]
        for sink in SINKS:
            cursor = self.cursor(sink)
            assert cursor.position - cursor.start == cursor.ledger.sum
            assert cursor.position >= self.lane.first
            assert cursor.ledger.damaged == 0
            at = cursor.position
            for plan in cursor.plans:
                assert plan.first == at
                at = plan.end
            assert isinstance(self.wait(self.lane.read(at, 1, 1)), Run) == (at < self.lane.head)


LaneAgainstList.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLaneAgainstList = LaneAgainstList.TestCase
