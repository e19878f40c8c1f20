"""
Lanes against plain lists: whatever is appended, read, settled, evicted, rotated, and then killed or cut off the power.

A crash falls on any call by which the spool changes a file (see disk.py), those of its start and stop included. What
was acknowledged, saved or sent before that call is known outside, and is held against what the next start finds.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from random import Random
from typing import Any, Literal
from zlib import crc32

from disk import Disk
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from spooling import deliver, everything, opened, part, records, temporary

from agent.record import Run
from agent.spool import Cursor, Gap, Reader, Spool, State, audit, books
from agent.spool.settings import KIB, Durability

LANES = ("all", "few")
READERS = (Reader("lake", "all"), Reader("file", "all"), Reader("notes", "few"))
SINKS = tuple(reader.sink for reader in READERS)
ORIGINS = ("plant", "barn")  # a frame is of one origin: two make several frames of a group
FATES = [State.DELIVERED, State.EXPIRED]
MOST_BYTES, SEGMENT_BYTES = 24 * KIB, 4 * KIB
LARGEST_GROUP = 24_000


class LanesAgainstLists(RuleBasedStateMachine):
    plans = Bundle("plans")
    durability: Durability = "strict"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.scratch = temporary()
        self.disk = Disk(Path(self.scratch.name))
        self.recording = ExitStack()
        self.recording.enter_context(self.disk.recording())
        self.place = Path(self.scratch.name) / "state"
        self.generation = 0
        self.packet = 0
        self.lists: dict[str, list[bytes]] = {lane: [] for lane in LANES}  # all that was appended, by index
        self.holes: dict[str, set[int]] = {lane: set() for lane in LANES}  # lost in a crash, never acknowledged
        self.messages: dict[int, dict[str, range]] = {}  # packet id -> where its records stand
        self.known: dict[Any, Any] = {}  # outside, when the run began
        self.stack = AsyncExitStack()
        self.spool: Spool

    def wait(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    def cursor(self, sink: str) -> Cursor:
        return self.spool.cursors(sink)[-1]

    def readers(self, lane: str) -> list[Cursor]:
        return [self.cursor(reader.sink) for reader in READERS if reader.lane == lane]

    def saved(self, cursor: Cursor) -> None:
        self.disk.note(("saved", cursor.sink), (cursor.position, cursor.ledger.as_dict()))

    # Starting and ending.

    @initialize()
    def start(self) -> None:
        async def enter() -> Spool:
            limits = {"max_bytes": MOST_BYTES, "segment_bytes": SEGMENT_BYTES}
            return await self.stack.enter_async_context(
                opened(self.place, *READERS, durability=self.durability, **limits)
            )

        self.disk.begin()
        self.spool = self.wait(enter())
        for lane in LANES:
            self.find_records(lane)
        for sink in SINKS:
            self.find_cursor(sink)
        for origin in ORIGINS:
            for packet, digest in self.spool.unacked(origin).items():
                # Whoever sends it again has it acknowledged and not stored, so all of it must be there.
                assert digest == packet * 7
                for lane, where in self.messages[packet].items():
                    assert not where or where.stop <= len(self.lists[lane])
                    assert not self.holes[lane].intersection(where)

    def find_records(self, name: str) -> None:
        lane = self.spool.lanes[name]
        acknowledged = self.known.get(("acknowledged", name), 0)
        assert acknowledged <= lane.head <= len(self.lists[name])
        del self.lists[name][lane.head :]
        _, gaps = self.wait(everything(lane, min(cursor.position for cursor in self.readers(name))))
        for gap in gaps:
            lost = set(range(gap.first, gap.first + gap.count)) - self.holes[name]
            assert not lost or min(lost) >= acknowledged
            self.holes[name] |= lost
        # From here on, and not while it was still opening, nobody sends it a second time.
        self.disk.note(("acknowledged", name), lane.head)

    def find_cursor(self, sink: str) -> None:
        cursor = self.cursor(sink)
        position, ledger = self.known.get(("saved", sink), (0, {}))
        assert cursor.position >= position
        assert all(cursor.ledger.as_dict()[name] >= count for name, count in ledger.items())
        self.saved(cursor)
        for key in [key for key in self.known if key[:2] == ("sent", sink)]:
            first, (segment, count, crc) = key[2], self.known[key]
            if first + count <= cursor.position:
                del self.known[key]
                continue
            (plan,) = [plan for plan in cursor.plans if plan.first <= first < plan.end]
            if not plan.state.settled:
                assert (plan.segment, plan.first, plan.count, plan.crc) == (segment, first, count, crc)
                run = self.wait(cursor.lane.read(first, count, 1 << 20))
                assert (run.segment_id, run.count, crc32(run.body)) == (segment, count, crc)

    def end(self) -> None:
        self.wait(self.stack.aclose())
        self.stack = AsyncExitStack()
        self.generation += 1

    def teardown(self) -> None:
        try:
            for sink in SINKS:
                self.wait(deliver(self.spool, sink))
            self.end()
            report = audit(self.place)
            assert report.balanced, report.findings
        finally:
            self.recording.close()
            self.loop.close()
            self.scratch.cleanup()

    @rule()
    def stop_and_start(self) -> None:
        for cursor in map(self.cursor, SINKS):
            self.known["saved", cursor.sink] = cursor.position, cursor.ledger.as_dict()
        self.end()
        self.known.update(self.disk.notes(len(self.disk.log)))
        self.start()

    @rule(back=st.integers(0, 80), seed=st.integers(0, 1 << 32))
    def kill(self, back: int, seed: int) -> None:
        self.crash("killed", back, seed)

    def crash(self, how: Literal["killed", "power_cut"], back: int, seed: int) -> None:
        """It ends at a call some way back. What was done after that call, its orderly end included, never was."""
        latest = {sink: self.cursor(sink).position for sink in SINKS}
        self.end()
        at = max(0, len(self.disk.log) - back)
        self.known.update(self.disk.notes(at))
        self.disk.become(getattr(self.disk, how)(at, Random(seed)))
        report = books._look(self.place) if self.place.exists() else None
        holes = {lane: set(some) for lane, some in self.holes.items()}
        self.start()
        assert all(self.cursor(sink).position <= position for sink, position in latest.items())
        if report is not None and holes == self.holes:
            # A mark that was only begun, or is torn, is damaged in the eyes of the audit; nothing is missing for it.
            findings = [text for text in map(str, report.findings) if not re.search("is damaged|loss is unknown", text)]
            assert not findings or any(self.holes.values()), findings

    # What it is for.

    @rule(
        messages=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6), st.sampled_from(ORIGINS)), max_size=5),
        size=st.integers(30, 150),
    )
    def append(self, messages: list[tuple[int, int, str]], size: int) -> None:
        self.make_room()

        async def go() -> None:
            futures = []
            for many, few, origin in messages:
                self.packet += 1
                parts = []
                where = self.messages[self.packet] = {}
                for lane, count in (("all", many), ("few", few)):
                    data = records(count, len(self.lists[lane]), size)
                    where[lane] = range(len(self.lists[lane]), len(self.lists[lane]) + count)
                    self.lists[lane] += data
                    claims = {"packets": [self.packet] * count, "hashes": [self.packet * 7] * count}
                    parts.append(part(data, lane=lane, origin=origin, **claims))
                future = self.spool.append(parts)
                future.add_done_callback(lambda _, where=where: self.acknowledged(where))
                futures.append(future)
            await asyncio.gather(*futures)

        self.wait(go())
        assert self.spool.bytes <= MOST_BYTES + SEGMENT_BYTES + LARGEST_GROUP
        for lane in LANES:
            assert self.spool.lanes[lane].head == len(self.lists[lane])
        self.make_room()

    def acknowledged(self, where: dict[str, range]) -> None:
        for lane, some in where.items():
            self.disk.note(("acknowledged", lane), some.stop)

    @rule(origin=st.sampled_from(ORIGINS))
    def confirm(self, origin: str) -> None:
        self.spool.confirm(origin, self.spool.checkpoint(origin))

    def make_room(self) -> None:
        """Let the janitor bring the spool below its limit."""

        async def go() -> None:
            while self.spool.bytes > MOST_BYTES:
                await self.spool._works.janitor._make_room()
                await asyncio.sleep(0.001)
            await self.spool._works.janitor._make_room()

        self.wait(go())

    @rule(target=plans, sink=st.sampled_from(SINKS), count=st.integers(1, 60), size=st.integers(1, 9000))
    def send(self, sink: str, count: int, size: int) -> object:
        cursor = self.cursor(sink)
        at = cursor.planned_end
        got = self.wait(cursor.lane.read(at, count, size))
        if got is None or cursor.room < 1:
            assert at == cursor.lane.head or cursor.room < 1
            return multiple()
        if isinstance(got, Gap):
            cursor.book(got.count, got.state)
            return multiple()
        assert isinstance(got, Run)
        assert 1 <= got.count <= count
        assert len(got.body) <= size or got.count == 1
        crc = crc32(got.body)
        plan = cursor.plan(got.segment_id, got.first, got.count, crc)
        self.wait(cursor.save())
        self.saved(cursor)
        self.disk.note(("sent", sink, got.first), (got.segment_id, got.count, crc))
        return (self.generation, sink, plan)

    @rule(chosen=plans, fate=st.sampled_from(FATES), save=st.booleans())
    def settle(self, chosen: Any, fate: State, save: bool) -> None:
        generation, sink, plan = chosen
        if generation != self.generation:
            return
        cursor = self.cursor(sink)
        cursor.settle(plan, fate)
        if save:
            self.wait(cursor.save())
            self.saved(cursor)

    @rule(lane=st.sampled_from(LANES))
    def settle_everything(self, lane: str) -> None:
        """Every sink is done with the lane; nobody has saved that yet, and there is room to be made."""
        for cursor in self.readers(lane):
            for plan in list(cursor.plans):
                cursor.settle(plan, State.DELIVERED)
            cursor.book(cursor.lane.head - cursor.planned_end, State.DELIVERED)
        self.make_room()

    @rule(lane=st.sampled_from(LANES))
    def rotate(self, lane: str) -> None:
        self.spool.lanes[lane].seal = True
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
            self.saved(self.cursor(sink))

    # What always holds.

    @invariant()
    def what_was_appended_is_what_is_read(self) -> None:
        for name in LANES if hasattr(self, "spool") else ():
            lane, cursors = self.spool.lanes[name], self.readers(name)
            low = min(cursor.position for cursor in cursors)
            found, gaps = self.wait(everything(lane, low))
            holes = {index for gap in gaps for index in range(gap.first, gap.first + gap.count)}
            assert holes == {index for index in self.holes[name] if index >= low}
            assert all(gap.state is State.DAMAGED for gap in gaps)
            assert found == {i: self.lists[name][i] for i in range(low, lane.head) if i not in holes}

    @invariant()
    def the_books_balance(self) -> None:
        for cursor in map(self.cursor, SINKS if hasattr(self, "spool") else ()):
            assert cursor.start == 0
            assert cursor.position == cursor.ledger.sum
            assert cursor.position >= min(cursor.lane.first, cursor.lane.evicted)
            assert cursor.ledger.damaged <= len(self.holes[cursor.lane.name])
            at = cursor.position
            for plan in cursor.plans:
                assert plan.first == at
                at = plan.end
