"""
The writer's thread: from appended parts to durable frames, a group at a time.

    gather what has come ─▸ for each lane: frames ─▸ one writev ─▸ one fdatasync ─▸ resolve the futures
        ▲                                                                               │
        └───────────── what comes meanwhile is the next group ◂─────────────────────────┘

After any error the same frames go to a new segment. Where that fails too, intake is closed and it is
tried again, with the group in hand, until it succeeds.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import structlog

from agent.spool.appender import Appender
from agent.spool.clock import Clock
from agent.spool.frame import Draft
from agent.spool.gather import Job, drafts
from agent.spool.lane import Lane
from agent.spool.part import Part
from agent.spool.settings import Settings
from agent.spool.state import StateDirectory

log = structlog.get_logger()

GROUP_BYTES = 1 << 20  # a sync for more costs no less a record, and needs three times as much memory meanwhile
IDLE_SECONDS = 5.0
BEAT_SECONDS = 60.0  # a sync on a dying disk may take long; longer than this is a hang
_RETRY_SECONDS = 5.0
_ROOM_SECONDS = 1.0  # between two looks for room, when nobody kicks
_PATIENCE_SECONDS = 10.0  # room is made in far less, unless something is wrong


class _StoppedError(Exception):
    """The spool closes while the disk takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the writer tells the loop; each is called on the loop."""

    durable: Callable[[list[Job], Mapping[str, int], int], None]  # jobs done, heads, number of the commit
    closed: Callable[[str | None], None]  # why nothing can be stored; None: it can again
    crowded: Callable[[bool], None]  # over a limit; True: it is the disk that runs out
    sealed: Callable[[], None]
    answer: Callable[[], None]  # to `ask`


@dataclass(slots=True, eq=False, kw_only=True)
class Writer:
    """The thread that appends. `append`, `kick`, `ask` and `stop` are called on the loop, the rest is the thread."""

    lanes: Mapping[str, Lane]
    state: StateDirectory
    settings: Settings
    clock: Clock
    loop: asyncio.AbstractEventLoop
    report: Report
    beat: Callable[[float], None]
    hindrance: Callable[[], str | None]  # why the janitor makes no room, where that is ours to say
    group: int  # the number of the last commit
    closed: str | None = None
    _appender: Appender = field(init=False)
    _queue: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: bool = False
    _asked: bool = False
    _synced: float = 0.0

    def __post_init__(self) -> None:
        self._appender = Appender(
            state=self.state,
            settings=self.settings,
            clock=self.clock,
            disk_low=lambda: self._tell(self.report.crowded, True),
            sealed=lambda: self._tell(self.report.sealed),
        )

    def append(self, job: Job) -> None:
        """Hand over; never blocks."""
        self._queue.put(job)

    def kick(self) -> None:
        """Look again: room has come free, a segment is to be sealed, or the disk may be back."""
        self._wake.set()
        self._queue.put(None)

    def ask(self) -> None:
        """Have it answer, whatever it waits for; a thread that hangs does not."""
        self._asked = True
        self.kick()

    def stop(self) -> None:
        """Write what has been appended, then end; while the disk takes nothing, end at once."""
        self._stopping = True
        self.kick()

    def run(self) -> None:
        """The thread."""
        self._synced = time.monotonic()
        self._alive()
        try:
            while not (self._stopping and self._queue.empty()):
                jobs = self._gather()
                if jobs:
                    self._commit(jobs)
                self._chores()
        except _StoppedError:
            pass
        except BaseException:
            # A bug, whatever ends this thread. Nothing more is acknowledged, and the watchdog misses the beat.
            log.exception("the spool's writer failed")
            self._close("the writer failed, see the log")
        finally:
            self._appender.close()

    def _gather(self) -> list[Job]:
        jobs: list[Job] = []
        size = 0
        limit = min(GROUP_BYTES, self.settings.segment_size)
        try:
            job = self._queue.get(timeout=self._idle())
            while True:
                if job is not None:
                    jobs.append(job)
                    size += job.size
                elif not jobs:
                    return jobs
                if size >= limit:
                    return jobs
                job = self._queue.get_nowait()
        except queue.Empty:
            return jobs

    def _idle(self) -> float:
        if self.settings.durability == "interval" and self._appender.unsynced:
            return max(0.0, self._synced + self.settings.interval - time.monotonic())
        return IDLE_SECONDS

    def _commit(self, jobs: list[Job]) -> None:
        self._alive()
        parts: dict[str, list[tuple[int, Part]]] = {}
        for job in jobs:
            for distance, part in zip(job.distances, job.parts, strict=True):
                if part.records:
                    parts.setdefault(part.lane, []).append((distance, part))
        heads: dict[str, int] = {}
        # In the order of their names: see gather.claim_once.
        for name in sorted(parts):
            self._alive()  # each lane is a sync of its own, and a slow card may take most of a minute for one
            heads[name] = self._write(self.lanes[name], self._drafts(parts[name]))
        self._tell(self.report.durable, jobs, heads, self.group)

    def _drafts(self, parts: list[tuple[int, Part]]) -> list[Draft]:
        """Frames for one lane; all parts have one distance, but where the clock was set between their arrivals."""
        stretches = groupby(parts, key=itemgetter(0))
        return [
            each for distance, some in stretches for each in drafts([part for _, part in some], self.clock, distance)
        ]

    def _write(self, lane: Lane, work: list[Draft]) -> int:
        """Make the frames durable in that lane, however long it takes; the index after them."""
        failures = 0
        head = self._appender.end(lane)
        while work:
            try:
                count, size = self._appender.fitting(lane, work)
                self._await_room(size)
                self.group += 1
                head = self._appender.put(lane, work[:count], head, self.group)
            except OSError as error:
                failures += 1
                self._failed(lane, error, failures)
                continue
            if self.closed is not None:
                self._open("spool stores again")
            failures = 0
            del work[:count]
            if self._total() > self.settings.max_bytes:
                self._tell(self.report.crowded, False)
            if work:
                self._tell(self.report.durable, [], {lane.name: head}, self.group)
        return head

    def _failed(self, lane: Lane, error: OSError, failures: int) -> None:
        self._appender.abandon(lane)
        if failures == 1 and self.closed is None:
            log.warning("spool segment sealed after an error, a new one follows", lane=lane.name, reason=str(error))
            return
        self._close(f"cannot write to {self.settings.directory}: {error.strerror or error}")
        self._rest(_RETRY_SECONDS)

    def _await_room(self, size: int) -> None:
        """Wait while this would take the spool more than a segment beyond its limit."""
        limit = self.settings.max_bytes
        patience = time.monotonic() + _PATIENCE_SECONDS
        said = False
        while (total := self._total()) > limit and total + size > limit + self.settings.segment_size:
            self._tell(self.report.crowded, False)
            self._rest(_ROOM_SECONDS)
            if self.closed is None and time.monotonic() >= patience and (why := self.hindrance()) is not None:
                self._close(f"the spool is full and room cannot be made: {why}")
                said = True
        if said:
            self._open("spool has room again")

    def _total(self) -> int:
        return sum(lane.bytes for lane in list(self.lanes.values()))

    def _rest(self, seconds: float) -> None:
        """Wait, with the group in hand, for a kick."""
        self._alive()
        if not self._stopping:
            self._wake.wait(seconds)
            self._wake.clear()
            self._alive()
            self._appender.seal_asked()
        if self._stopping:
            raise _StoppedError

    def _chores(self) -> None:
        """What is due between two groups."""
        self._alive()
        self._wake.clear()
        self._appender.seal_asked()
        if self.closed is not None:
            try:
                self.state.prepare()
            except OSError:
                pass  # still closed, and said so already
            else:
                self._open("spool can be written again")
        if self.settings.durability == "interval" and time.monotonic() >= self._synced + self.settings.interval:
            self._synced = time.monotonic()
            self._appender.sync()

    def _alive(self) -> None:
        self.beat(BEAT_SECONDS)
        if self._asked:
            self._asked = False
            self._tell(self.report.answer)

    def _close(self, reason: str) -> None:
        if self.closed is None:
            log.error("spool takes nothing in", reason=reason)
        self.closed = reason
        self._tell(self.report.closed, reason)

    def _open(self, event: str) -> None:
        log.warning(event, after=self.closed)
        self.closed = None
        self._tell(self.report.closed, None)

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(what, *args)
        except RuntimeError:
            pass  # the loop has ended; nobody waits any more
