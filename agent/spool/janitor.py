"""
Keeps the spool within its limits and its marks up to date.

A second after something changed: cursors and head marks are written, segments that every sink is done
with are deleted. At once, when the writer says that a limit is passed: the oldest segment of the lane with
the largest backlog is given up, booked in every cursor that lags before it is deleted. Where nothing
changes, it looks around once a minute.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from agent.spool.clock import Clock
from agent.spool.cursor import Cursor
from agent.spool.head import Head, fitted
from agent.spool.keeper import Keeper
from agent.spool.lane import Lane
from agent.spool.ledger import State
from agent.spool.mark import Mark
from agent.spool.retired import Retired
from agent.spool.segment import Segment
from agent.spool.settings import Settings
from agent.spool.state import StateDirectory
from agent.stats import Stats
from agent.timing import Seldom

log = structlog.get_logger()

TICK_SECONDS = 1.0
_QUIET_SECONDS = 60.0  # what nobody tells of (a clock that was set, say) is seen this soon


@dataclass(slots=True, eq=False, kw_only=True)
class Janitor:
    """Runs on the loop; all that touches the disk goes through the keeper."""

    lanes: dict[str, Lane]
    cursors: dict[str, list[Cursor]]  # by lane
    heads: dict[str, Mark]  # by lane
    wanted: set[str]  # lanes that are written to
    retired: Retired
    settings: Settings
    state: StateDirectory
    keeper: Keeper
    clock: Clock
    stats: Stats
    kick: Callable[[], None]  # the writer may look again
    blocked: Callable[[str | None], None]  # a sink with on_full = "block" keeps intake closed
    claims: Callable[[], tuple[int, int, Mapping[str, int]]]  # last commit, claims_from, acked
    # Lanes that are emptied in a way of their own before a segment of theirs is evicted.
    empty: Mapping[str, Callable[[int], Awaitable[None]]]
    # Held by whoever takes cursors and lanes away or puts them there: they, and their files, go as a whole.
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)
    _urgent: asyncio.Event = field(default_factory=asyncio.Event)
    _disk_low: bool = False
    _blocked: bool = False  # a sink with on_full = "block" is what keeps us
    _trouble: str | None = None  # the error that keeps us
    _full_heads: set[str] = field(default_factory=set)
    _written: dict[str, Head] = field(default_factory=dict)
    _evicted: dict[str, int] = field(default_factory=dict)
    _said: dict[str, Seldom] = field(default_factory=dict)  # by sink: what was evicted
    _unsynced_said: Seldom = field(default_factory=Seldom)

    def __post_init__(self) -> None:
        for cursor in self.all():
            cursor.changed = self.stir
        self.stir()

    def seat(self, cursors: Iterable[Cursor], retired: list[Cursor]) -> None:
        """Look after these cursors, too, if they are new; those are the retired ones now."""
        for cursor in cursors:
            if cursor not in (readers := self.cursors[cursor.lane.name]):
                readers.append(cursor)
                cursor.changed = self.stir
        self.retired.cursors = retired
        self.stir()

    def stir(self) -> None:
        """Something has changed: there is to be a tick."""
        self._stirred.set()

    def crowded(self, disk: bool) -> None:
        """A limit is passed (`disk`: it is the free disk)."""
        self._disk_low = self._disk_low or disk
        self.wake()

    def wake(self) -> None:
        """Look at once."""
        self._urgent.set()
        self.stir()

    def hindrance(self) -> str | None:
        """Why there is no room, asked by the writer's thread; None: for a sink that blocks, which is said already."""
        trouble = self._trouble or self.keeper.trouble
        return trouble or (None if self._blocked else "giving up the oldest records takes very long")

    async def run(self) -> None:
        """Work until cancelled."""
        self.stir()  # whatever ended the run before this one
        clock = asyncio.get_running_loop().time
        due: float | None = None  # the next tick, however often it is called meanwhile: room comes of saved cursors
        while True:
            if due is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_QUIET_SECONDS):
                        await self._stirred.wait()
                due = clock() + TICK_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._urgent.wait()
            if clock() >= due:
                due = None
                self._stirred.clear()
                await self._tick()
            self._urgent.clear()
            try:
                if not await self._make_room():
                    self.stir()
            except OSError as error:
                # Tried again at the next tick; the writer closes intake where that goes on while it needs the room.
                if str(error) != self._trouble:
                    log.error("spool cannot make room", reason=str(error))
                self._trouble = str(error)
                self.stir()
                await asyncio.sleep(TICK_SECONDS)
            else:
                if self._trouble is not None:
                    log.warning("spool makes room again", after=self._trouble)
                self._trouble = None

    async def _tick(self) -> None:
        saves = [cursor.begin_save() for cursor in self.all() if cursor.dirty]
        if saves:
            # For the head marks, which say what is saved. Where one file cannot be written, the others still are.
            await asyncio.wait(saves, timeout=TICK_SECONDS)
        if any(cursor.saving for cursor in self.all()):
            self.stir()
        try:
            await self.keeper.sync()
        except OSError as error:
            if self._unsynced_said.is_due(asyncio.get_running_loop().time()):
                log.error("cursors may fall back in a power cut", reason=str(error))
            self.stir()
        await self._abandon_retired()
        await self.write_heads()
        self._say_evicted()

    async def write_heads(self) -> None:
        """Write the head marks that changed, one try each."""
        for name in list(self.lanes):
            await self._write_head(name)

    async def _write_head(self, name: str, going: int = 0) -> bool:
        lane = self.lanes.get(name)
        if lane is None:
            return True  # it went while we were at another
        segments = lane.segments[going:]
        group, claims_from, acked = self.claims()
        whole = Head(
            lane=name,
            instance=self.state.instance,
            head=lane.head,
            segment=segments[-1].id if segments else 0,
            group=group,
            claims_from=claims_from,
            acked=dict(acked),
            cursors={
                one.sink: (one.start, one.saved) for one in self.cursors.get(name, []) if one.mark.value is not None
            },
        )
        head = fitted(whole)
        if (head != whole) != (name in self._full_heads):
            self._full_heads ^= {name}
            log.warning(
                "more sinks and collectors than a head mark has room for"
                if head != whole
                else "the head mark has room",
                lane=name,
                cursors_left_out=len(whole.cursors) - len(head.cursors),
                collectors_left_out=len(whole.acked) - len(head.acked),
            )
        if not lane.directory.is_dir() or self._written.get(name) == head:
            return True
        written = await self.keeper.attempt(self.heads[name], replace(head, wall_ms=self.clock.note()).encoded())
        if written:
            self._written[name] = head
        else:
            self.stir()
        return written

    async def remove(self, cursor: Cursor) -> None:
        """
        A cursor goes; its lane with it when nobody reads or writes that any more.

        What the disk does not let go of is left for the next start, which finds the cursor drained.
        """
        async with self.moving:
            readers = self.cursors.get(cursor.lane.name, [])
            if cursor not in readers or cursor.end is None:
                return  # done before, or its sink has come back to this lane meanwhile
            readers.remove(cursor)
            await self._remove(cursor, goes=not readers and cursor.lane.name not in self.wanted)

    async def _remove(self, cursor: Cursor, *, goes: bool) -> None:
        lane = cursor.lane
        if goes:
            lane.evicted = lane.head  # nobody's: where a segment stays now, it goes with the settled ones
        try:
            # First out of the mark: a cursor that is named there and has no file went behind our back.
            if not await self._write_head(lane.name, len(lane.segments) if goes else 0):
                raise OSError(self.keeper.trouble)
            for segment in lane.segments if goes else ():
                await self.keeper.call(self._delete, segment)
                lane.drop(segment)
            await self.keeper.call(cursor.mark.remove)
            if goes:
                await self._forget(lane)
        except OSError as error:
            log.warning("a drained lane stays in part until the next start", lane=lane.name, reason=str(error))

    async def sweep(self) -> None:
        """Remove the lanes that an earlier run could not. At the start."""
        for lane in list(self.lanes.values()):
            if lane.name in self.wanted or self.cursors[lane.name] or lane.segments:
                continue
            try:
                await self._forget(lane)
            except OSError as error:
                log.warning("an empty lane cannot be removed", lane=lane.name, reason=str(error))

    async def _forget(self, lane: Lane) -> None:
        del self.lanes[lane.name], self.cursors[lane.name]
        await self.keeper.call(self.heads.pop(lane.name).remove)
        await self.keeper.call(lane.directory.rmdir)

    async def _abandon_retired(self) -> None:
        for cursor in self.retired.due():
            end = cursor.lane.head if cursor.end is None else cursor.end
            count = cursor.give_up(end, State.ABANDONED)
            log.error("records of a removed sink are abandoned", sink=cursor.sink, records=count)
            if await cursor.begin_save():
                await self.remove(cursor)
        if self.retired.cursors:
            self.stir()  # their time comes without a change

    async def _make_room(self) -> bool:
        """Whether there is room by now."""
        await self._delete_settled()
        while await self._over():
            lane = max(self.lanes.values(), key=lambda one: one.bytes)
            if not lane.segments:
                return False
            oldest = lane.segments[0]
            end = lane.end_of(oldest)
            holders = [cursor.sink for cursor in self.cursors.get(lane.name, []) if _holds(cursor, end)]
            if holders:
                self._block(f"full, and waits for {', '.join(holders)} (on_full = block) to take the oldest records")
                return False
            if lane.active is oldest:
                lane.seal = True
                self.kick()
                return False  # the writer's `sealed` brings us back
            await self._evict(lane, end)
            if not await self._delete_settled():
                return False
        self._disk_low = False
        self._block(None)
        return True

    def _block(self, reason: str | None) -> None:
        self._blocked = reason is not None
        self.blocked(reason)

    async def _over(self) -> bool:
        total = sum(lane.bytes for lane in self.lanes.values())
        if total > self.settings.max_bytes:
            return True
        if not self._disk_low:
            return False
        disk = await self.keeper.call(os.statvfs, self.state.path)
        free = disk.f_bavail * disk.f_frsize
        # Where all we have would not be enough, the disk is full of something else: give up nothing for it.
        return free < self.settings.min_free_bytes <= free + total

    async def _evict(self, lane: Lane, end: int) -> None:
        if lane.name in self.empty:
            await self.empty[lane.name](end)
            return
        lane.evicted = max(lane.evicted, end)
        for cursor in self.cursors.get(lane.name, []):
            count = cursor.give_up(end, State.EVICTED)
            if count:
                self._evicted[cursor.sink] = self._evicted.get(cursor.sink, 0) + count
                self.stats.counter(
                    "agent_spool_evicted_records_total", "Records given up for room.", sink=cursor.sink
                ).add(count)
            if count and cursor.mark.value is not None:
                await cursor.save()
        self._say_evicted()

    def _say_evicted(self) -> None:
        now = asyncio.get_running_loop().time()
        for sink, count in list(self._evicted.items()):
            if self._said.setdefault(sink, Seldom()).is_due(now):
                del self._evicted[sink]
                log.error("the spool is full, the oldest records are given up", sink=sink, records=count)

    async def _delete_settled(self) -> bool:
        """Delete the segments that every cursor is past; whether there were any."""
        deleted = False
        for name, lane in list(self.lanes.items()):
            readers = self.cursors.get(name, [])
            # Nobody's lane (its cursors went behind our back) stays until the room is needed.
            floor = min((_held_from(cursor) for cursor in readers), default=lane.evicted)
            done: list[Segment] = []
            for segment in lane.segments:
                if segment is lane.active or lane.end_of(segment) > floor:
                    break
                done.append(segment)
            if not done:
                continue
            await self.keeper.sync()
            # First the mark, without them: a segment it names that is not there went behind our back.
            if not await self._write_head(name, len(done)) and self.heads[name].value is not None:
                continue
            for segment in done:
                await self.keeper.call(self._delete, segment)
                lane.drop(segment)
                deleted = True
        if deleted:
            self.kick()
        return deleted

    def _delete(self, segment: Segment) -> None:
        if segment.damaged:
            self.state.set_aside(segment.path)
        else:
            segment.path.unlink(missing_ok=True)

    def all(self) -> list[Cursor]:
        """Every cursor, those of removed sinks too."""
        return [cursor for cursors in self.cursors.values() for cursor in cursors]


def _held_from(cursor: Cursor) -> int:
    held = cursor.holds_from
    return cursor.lane.head if held is None else held


def _holds(cursor: Cursor, end: int) -> bool:
    limit = end if cursor.end is None else min(end, cursor.end)
    return cursor.blocks and cursor.retired_ms is None and cursor.position < limit
