"""
The spool: the durable queue between collectors and sinks.

    append ─▸ writer's thread ─▸ lanes (segment files) ─▸ read ─▸ cursors ─▸ keeper's thread ─▸ marks
                                      ▲ janitor: limits, deletion, head marks

Everything public here is called on the event loop and blocks nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from agent import stats as numbers
from agent.spool.change import change
from agent.spool.cursor import Cursor
from agent.spool.gather import Job, claim_once
from agent.spool.lane import Lane
from agent.spool.part import Part
from agent.spool.progress import Progress
from agent.spool.settings import Reader, Settings
from agent.spool.shelf import Shelf
from agent.spool.state import held
from agent.spool.works import Listener, Works, assemble, running

log = structlog.get_logger()


class Spool:
    """An open state directory. Made by `Spool.open` alone."""

    _works: Works

    def __init__(self, settings: Settings, instance: str, part: numbers.Part, stats: numbers.Stats) -> None:
        self.settings = settings
        self.instance = instance  # 16 hex digits, one for each state directory
        self._part = part
        self._loop = asyncio.get_running_loop()
        self._group = 0  # number of the last commit
        self._pending = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed_by_disk: str | None = None
        self._closed_by_sink: str | None = None
        self._answer = asyncio.Event()
        self._commits = stats.counter("agent_spool_commits_total", "Groups made durable.")
        stats.gauge("agent_spool_bytes", "Bytes of all segments.", lambda: self.bytes)
        stats.gauge("agent_spool_pending_bytes", "Bytes appended and not yet durable.", lambda: self._pending)
        stats.gauge("agent_spool_closed", "1 while nothing can be stored.", lambda: int(self.closed_reason is not None))

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
        progress: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Spool]:
        """
        Hold the state directory, recover what is in it, and keep it until the block ends.

        Raises StateLocked, StateTooNew (nothing is touched) or StateError. On the way out everything
        appended is written, as far as the disk takes it. While a long recovery gets on, `progress` is told
        so every few seconds; while it hangs it is not.
        """
        loop = asyncio.get_running_loop()
        heard = Progress(None if progress is None else lambda text: _say(loop, progress, text))
        async with AsyncExitStack() as stack:
            directory = held(settings.directory, version, settings.segment_size)
            state = await asyncio.to_thread(stack.enter_context, directory)
            spool = cls(settings, state.instance, part, stats)
            listener = Listener(
                durable=spool._durable,
                closed_by_disk=spool._disk_closed,
                closed_by_sink=spool._sink_closed,
                answer=spool._answer.set,
                beat=part.beat,
                group=lambda: spool._group,
            )
            spool._works = await assemble(state, settings, readers, stats, listener, heard)
            spool._group = spool._works.group
            stack.callback(spool._end)
            await stack.enter_async_context(running(spool._works))
            yield spool

    async def change(self, readers: Sequence[Reader]) -> None:
        """
        From now on these read, as if the spool had been closed and opened again with them.

        Whoever works with the cursors of a sink that changes or goes has let go of them, and nothing is on its way to
        the disk for a lane that changes readers: then what a lane holds is what was meant for those who read it.
        Raises OSError where the disk does not take the change; the former readers can be changed back to then.
        """
        await change(self._works, readers)

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """Every lane by its name, those of former selections and the dead letters' too."""
        return self._works.lanes

    # What intake uses.

    def append(self, parts: Sequence[Part]) -> asyncio.Future[None]:
        """
        Take parts over; the future is done once all of them are durable.

        Raises KeyError for a lane nobody reads, ValueError for columns that do not fit their records.
        """
        size = 0
        claiming = False
        for part in parts:
            if part.lane not in self._works.wanted:
                raise KeyError(f"no lane {part.lane!r}")
            size += sum(part.lengths)
            if part.packets is not None:
                claiming = True
        if claiming:
            parts = claim_once(parts)
            for part in parts:
                if part.packets is not None:
                    self._works.claims.made(part.origin, self._group)
        future = self._loop.create_future()
        self._pending += size
        self._waiting.add(future)
        distance_of = self._works.writer.clock.distance_of
        self._works.writer.append(Job(parts, size, future, [distance_of(part.received_ms) for part in parts]))
        return future

    @property
    def pending_bytes(self) -> int:
        """Bytes appended and not yet durable."""
        return self._pending

    @property
    def closed_reason(self) -> str | None:
        """Why nothing can be stored at present; None: all is well. What is appended meanwhile waits."""
        return self._closed_by_disk or self._closed_by_sink

    async def flush(self) -> bool:
        """Return when all that was appended before is durable, or with False when the spool is closed."""
        marker = self.append(())
        while not marker.done() and self.closed_reason is None:
            await asyncio.wait({marker}, timeout=0.1)
        return marker.done()

    async def alive(self) -> bool:
        """
        True once each of the spool's threads has answered; never returns while one of them hangs.

        A disk that is full or takes no writes lets them all answer.
        """
        self._answer.clear()
        self._works.writer.ask()
        await self._answer.wait()
        await self._works.keeper.call(int)  # does nothing
        await self._works.pool.alive()
        return True

    # What collectors use, by way of intake: which deliveries the broker may repeat.

    async def recall(self, origin: str) -> bool:
        """
        Bring `unacked` up to date for a collector that begins anew: what it has stored before counts, too.

        False where some of that is still to be stored, and the spool is closed.
        """
        works = self._works
        if works.claims.is_behind(origin):
            if not await self.flush():
                return False
            await self._loop.run_in_executor(works.pool, works.claims.recall, origin, list(self.lanes.values()))
        return True

    def unacked(self, origin: str) -> dict[int, int]:
        """Packet id -> payload hash of what was stored and not known to be acknowledged when the origin last ended."""
        return self._works.claims.unacked(origin)

    def checkpoint(self, origin: str) -> object:
        """Name the present moment: everything durable by now."""
        del origin  # one count of commits serves all
        return self._group

    def confirm(self, origin: str, checkpoint: object) -> None:
        """Whatever `origin` had stored by then is acknowledged for good."""
        if isinstance(checkpoint, int):
            self._works.claims.confirm(origin, checkpoint)
            self._works.janitor.stir()

    # What delivery uses.

    def cursors(self, sink: str) -> list[Cursor]:
        """A sink's cursors: those in lanes it drains first, its own last."""
        return list(self._works.cursors[sink])

    async def close_cursor(self, cursor: Cursor) -> None:
        """Remove the cursor of a former lane that is drained; the lane goes with its last cursor."""
        cursors = self._works.cursors[cursor.sink]
        own = cursors[-1]
        if cursor is own:
            raise ValueError(f"{cursor.sink} still reads from {cursor.lane.name}")
        if cursor not in cursors:
            return  # a second try: what the first one left is for the next start
        cursors.remove(cursor)
        if own.absorbed != (cursor.lane.name, cursor.start):
            own.inherited_dead += cursor.ledger.dead + cursor.inherited_dead
            own.absorbed = (cursor.lane.name, cursor.start)
            await own.save()
        await cursor.save()  # where it cannot be deleted now, the next start is to find it drained
        await self._works.janitor.remove(cursor)
        if cursor in (others := self._works.cursors.get(cursor.sink, [])):
            others.remove(cursor)  # the readers were changed meanwhile, and it was found among the cursors

    # What gives dead letters back uses.

    async def dead_letters(self) -> Shelf:
        """The dead letters there are by now. Raises OSError where some cannot come to their files."""
        return await self._works.drain.shelf()

    # For whoever looks.

    @property
    def bytes(self) -> int:
        """What all segments take on disk."""
        return sum(lane.bytes for lane in self.lanes.values())

    # What the writer's thread says, on the loop.

    def _durable(self, jobs: list[Job], heads: Mapping[str, int], group: int) -> None:
        if jobs:
            # Only now are they acknowledged: a checkpoint names what is.
            self._group = group
            self._commits.add()
        for name, head in heads.items():
            self.lanes[name].publish(head)
        self._works.janitor.stir()
        for job in jobs:
            self._pending -= job.size
            self._waiting.discard(job.done)
            if not job.done.done():
                job.done.set_result(None)

    def _disk_closed(self, reason: str | None) -> None:
        self._closed_by_disk = reason
        self._say_state()

    def _sink_closed(self, reason: str | None) -> None:
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

    def _end(self) -> None:
        self._closed_by_disk = "the spool is closed"
        for future in self._waiting:
            future.cancel()
        self._part.become("stopped")


def _say(loop: asyncio.AbstractEventLoop, progress: Callable[[str], None], text: str) -> None:
    """From the thread that recovers to the loop."""
    loop.call_soon_threadsafe(progress, text)
