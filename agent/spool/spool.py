"""
The spool: the durable queue between collectors and sinks.

    append ─▸ writer's thread ─▸ lanes (segment files) ─▸ read ─▸ cursors ─▸ keeper's thread ─▸ marks
                                      ▲ janitor: limits, deletion, head marks

Everything public here is called on the event loop and blocks nowhere.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from agent import stats as numbers
from agent.spool import dead, recovery, roster
from agent.spool.claims import Claims
from agent.spool.clock import Clock
from agent.spool.cursor import Cursor
from agent.spool.gather import Job, claim_once
from agent.spool.head import mark_of
from agent.spool.janitor import Janitor
from agent.spool.keeper import Keeper
from agent.spool.lane import Lane
from agent.spool.letters import Letters
from agent.spool.mark import sync_directory
from agent.spool.part import Part
from agent.spool.settings import Reader, Settings
from agent.spool.state import StateDirectory, held
from agent.spool.writer import Report, Writer

log = structlog.get_logger()

READ_THREADS = 2
_JOIN_SECONDS = 10.0  # a sync that hangs longer is left to the end of the process


class Spool:
    """An open state directory. Made by `Spool.open` alone."""

    def __init__(self, state: StateDirectory, settings: Settings, part: numbers.Part, stats: numbers.Stats) -> None:
        self.settings = settings
        self.instance = state.instance
        self.lanes: dict[str, Lane] = {}
        self._state = state
        self._part = part
        self._loop = asyncio.get_running_loop()
        self._keeper = Keeper(settings.durability)
        self._pool = ThreadPoolExecutor(READ_THREADS, "spool-read")
        self._cursors: dict[str, list[Cursor]] = {}  # by sink, former lanes first
        self._pending = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed_by_disk: str | None = None
        self._closed_by_sink: str | None = None
        self._answer = asyncio.Event()
        self._commits = stats.counter("agent_spool_commits_total", "Groups made durable.")
        stats.gauge("agent_spool_bytes", "Bytes of all segments.", lambda: self.bytes)
        stats.gauge("agent_spool_pending_bytes", "Bytes appended and not yet durable.", lambda: self._pending)
        stats.gauge("agent_spool_closed", "1 while nothing can be stored.", lambda: int(self.closed_reason is not None))
        self._stats = stats

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        readers: Sequence[Reader],
        *,
        version: str,
        part: numbers.Part,
        stats: numbers.Stats,
    ) -> AsyncIterator[Spool]:
        """
        Hold the state directory, recover what is in it, and keep it until the block ends.

        Raises StateLocked, StateTooNew (nothing is touched) or StateError. On the way out everything
        appended is written, as far as the disk takes it.
        """
        async with AsyncExitStack() as stack:
            directory = held(settings.directory, version, settings.segment_size)
            state = await asyncio.to_thread(stack.enter_context, directory)
            spool = cls(state, settings, part, stats)
            await spool._recover(readers)
            await stack.enter_async_context(spool._running())
            yield spool

    # What intake uses.

    def append(self, parts: Sequence[Part]) -> asyncio.Future[None]:
        """
        Take parts over; the future is done once all of them are durable.

        Raises KeyError for a lane nobody reads, ValueError for columns that do not fit their records.
        """
        size = 0
        claiming = False
        for part in parts:
            if part.lane not in self._wanted:
                raise KeyError(f"no lane {part.lane!r}")
            size += sum(map(len, part.records))
            if part.packets is not None:
                claiming = True
        if claiming:
            parts = claim_once(parts)
            for part in parts:
                if part.packets is not None:
                    self._claims.made(part.origin, self._group)
        future = self._loop.create_future()
        self._pending += size
        self._waiting.add(future)
        self._writer.append(Job(parts, size, future))
        return future

    @property
    def pending_bytes(self) -> int:
        """Bytes appended and not yet durable."""
        return self._pending

    @property
    def closed_reason(self) -> str | None:
        """Why nothing can be stored at present; None: all is well. What is appended meanwhile waits."""
        return self._closed_by_disk or self._closed_by_sink

    async def flush(self) -> None:
        """Return when all that was appended before is durable, or when the spool is closed."""
        marker = self.append(())
        while not marker.done() and self.closed_reason is None:
            await asyncio.wait({marker}, timeout=0.1)

    async def alive(self) -> bool:
        """True once the writer's thread has answered; never returns while that hangs."""
        self._answer.clear()
        self._writer.ask()
        await self._answer.wait()
        return True

    # What collectors use, by way of intake: which deliveries the broker may repeat.

    def unacked(self, origin: str) -> dict[int, int]:
        """Packet id -> payload hash of what was stored and not known to be acknowledged when the agent last ended."""
        return self._claims.unacked(origin)

    def checkpoint(self, origin: str) -> object:
        """Name the present moment: everything durable by now."""
        del origin  # one count of commits serves all
        return self._group

    def confirm(self, origin: str, checkpoint: object) -> None:
        """Whatever `origin` had stored by then is acknowledged for good."""
        if isinstance(checkpoint, int):
            self._claims.confirm(origin, checkpoint)

    # What delivery uses.

    def cursors(self, sink: str) -> list[Cursor]:
        """A sink's cursors: those in lanes it drains first, its own last."""
        return list(self._cursors[sink])

    async def close_cursor(self, cursor: Cursor) -> None:
        """Remove the cursor of a former lane that is drained; the lane goes with its last cursor."""
        own = self._cursors[cursor.sink][-1]
        if cursor is own:
            raise ValueError(f"{cursor.sink} still reads from {cursor.lane.name}")
        if own.absorbed != (cursor.lane.name, cursor.start):
            own.inherited_dead += cursor.ledger.dead + cursor.inherited_dead
            own.absorbed = (cursor.lane.name, cursor.start)
            await own.save()
        self._cursors[cursor.sink].remove(cursor)
        await self._janitor.remove(cursor)

    # For whoever looks.

    @property
    def bytes(self) -> int:
        """What all segments take on disk."""
        return sum(lane.bytes for lane in self.lanes.values())

    # How it comes to be and ends.

    async def _recover(self, readers: Sequence[Reader]) -> None:
        state = self._state
        try:
            await self._keeper.call(state.prepare)
        except OSError as error:
            self._closed_by_disk = f"cannot write to {state.path}: {error.strerror or error}"
            log.error("spool takes nothing in", reason=self._closed_by_disk)
        found = await self._keeper.call(recovery.lanes, state.lanes, self._trouble)
        roster.rename(readers, found.values())
        roster.restore(readers, found.values())
        clock = Clock(max((one.head.wall_ms for one in found.values()), default=0))
        self._group = max((one.group for one in found.values()), default=0)
        self._claims = await self._keeper.call(Claims.recovered, found)
        names = {*found, *(reader.lane for reader in readers), dead.LANE}
        for name in sorted(names):
            one = found.get(name)
            directory = roster.directory_of(state.lanes, name)
            segments, head = ([], 0) if one is None else (one.segments, one.proven)
            lane = Lane(name, directory, segments, head, clock)
            lane.pool = self._pool
            self.lanes[name] = lane
        drain_reader = Reader(dead.SINK, dead.LANE)
        by_lane: dict[str, list[Cursor]] = {name: [] for name in names}
        for reader in [*readers, drain_reader]:
            self._cursors[reader.sink] = roster.cursors(reader, self.lanes, found, self._keeper.write)
        kept = [*readers, drain_reader]
        self._wanted = frozenset(reader.lane for reader in kept)
        for cursor in [
            *(cursor for cursors in self._cursors.values() for cursor in cursors),
            *roster.retired(kept, self.lanes, found, clock.now(), self._keeper.write),
        ]:
            by_lane[cursor.lane.name].append(cursor)
        self._janitor = Janitor(
            lanes=self.lanes,
            cursors=by_lane,
            heads={name: found[name].mark if name in found else mark_of(self.lanes[name].directory) for name in names},
            wanted=self._wanted,
            settings=self.settings,
            state=state,
            keeper=self._keeper,
            clock=clock,
            stats=self._stats,
            kick=self._kick,
            blocked=self._blocked,
            claims=lambda: (self._group, *self._claims.persistent(self._group)),
            empty={dead.LANE: self._empty_dead},
        )
        letters = Letters(
            state.dead_letters,
            max_bytes=self.settings.dead_max_bytes,
            max_age=self.settings.dead_max_age,
            sync=self.settings.durability == "strict",
            now=time.time,
        )
        self._letters = letters
        self._drain = dead.Drain(self._cursors[dead.SINK][-1], letters, self._keeper, self._stats)
        self._writer = Writer(
            lanes=self.lanes,
            state=state,
            settings=self.settings,
            clock=clock,
            loop=self._loop,
            report=Report(
                durable=self._durable,
                closed=self._closed,
                crowded=self._janitor.crowded,
                sealed=self._janitor.wake,
                answer=self._answer.set,
            ),
            beat=self._part.beat,
            group=self._group,
            closed=self._closed_by_disk,
        )
        await self._keeper.call(self._make_files)
        await self._janitor.write_heads()

    def _trouble(self, path: Path, text: str, aside: bool) -> None:
        log.error("damage found", file=str(path), problem=text)
        if aside:
            self._state.set_aside(path)

    def _make_files(self) -> None:
        """Lanes and cursors get their files now, while there is room for them; what fails is made later."""
        for lane in self.lanes.values():
            try:
                if not lane.directory.is_dir():
                    lane.directory.mkdir(mode=0o700)
                    sync_directory(lane.directory.parent)
            except OSError:
                return
        for cursors in self._cursors.values():
            for cursor in cursors:
                if cursor.mark.value is None:
                    try:
                        cursor.mark.write(cursor.encoded())
                        cursor.saved = cursor.position
                    except OSError:
                        return

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        thread = threading.Thread(target=self._writer.run, name="spool-writer", daemon=True)
        thread.start()
        self._say_state()
        tasks = [
            asyncio.create_task(_kept_up("janitor", self._janitor.run), name="spool janitor"),
            asyncio.create_task(_kept_up("dead letters", self._drain.run), name="dead letters"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.stop()
            await asyncio.to_thread(thread.join, _JOIN_SECONDS)
            await asyncio.sleep(0)  # what the writer said last is heard
            await self._wind_down()
            if thread.is_alive():
                log.error("the spool's writer hangs, what it holds was never acknowledged", bytes=self._pending)
            self._part.become("stopped")

    async def _wind_down(self) -> None:
        for future in self._waiting:
            future.cancel()
        try:
            await self._drain.finish()
        except OSError as error:
            log.warning("dead letters wait in the spool", reason=str(error))
        self._keeper.closing()
        for cursors in self._janitor.cursors.values():
            for cursor in cursors:
                if cursor.dirty:
                    await cursor.begin_save()
        try:
            await self._keeper.sync()
        except OSError as error:
            log.error("cursors may fall back in a power cut", reason=str(error))
        await self._janitor.write_heads()
        self._letters.close()
        for mark in [
            *self._janitor.heads.values(),
            *(one.mark for some in self._janitor.cursors.values() for one in some),
        ]:
            mark.close()
        await asyncio.to_thread(self._keeper.close)
        await asyncio.to_thread(self._pool.shutdown)

    def _kick(self) -> None:
        self._writer.kick()

    async def _empty_dead(self, end: int) -> None:
        await self._drain.give_up(end)

    # What the writer's thread says, on the loop.

    def _durable(self, jobs: list[Job], heads: Mapping[str, int], group: int) -> None:
        self._group = max(self._group, group)
        for name, head in heads.items():
            self.lanes[name].publish(head)
        for job in jobs:
            self._pending -= job.size
            self._waiting.discard(job.done)
            if not job.done.done():
                job.done.set_result(None)
        if jobs:
            self._commits.add()

    def _closed(self, reason: str | None) -> None:
        self._closed_by_disk = reason
        self._say_state()

    def _blocked(self, reason: str | None) -> None:
        if (reason is None) == (self._closed_by_sink is None):
            self._closed_by_sink = reason
            return
        if reason is not None:
            log.error("spool takes nothing in", reason=reason)
        else:
            log.warning("spool stores again", after=self._closed_by_sink)
        self._closed_by_sink = reason
        self._say_state()

    def _say_state(self) -> None:
        reason = self.closed_reason
        self._part.become("up" if reason is None else "down", reason or "")


async def _kept_up(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
        except Exception:
            # A bug: it is said with its trace, and must not end the keeping of limits for good.
            log.exception("failed, goes on", part=name)
            await asyncio.sleep(1.0)
