"""
The writer's thread: from appended parts to durable frames, a group at a time.

    gather what has come ─▸ for each lane: frames ─▸ one writev ─▸ one fdatasync ─▸ resolve the futures
        ▲                                                                               │
        └───────────── what comes meanwhile is the next group ◂─────────────────────────┘

After any error a segment is sealed at its durable end and its descriptor is never synced again: the
same frames go to a new segment. Where that fails too, intake is closed and it is tried again, with
the group in hand, until it succeeds.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from agent.spool import segment as segments
from agent.spool.clock import Clock
from agent.spool.frame import Draft
from agent.spool.gather import Job, drafts
from agent.spool.lane import Lane
from agent.spool.mark import sync_directory
from agent.spool.part import Part
from agent.spool.segment import Segment
from agent.spool.settings import Settings
from agent.spool.state import StateDirectory

log = structlog.get_logger()

GROUP_BYTES = 4 << 20
MOST_BUFFERS = 1024  # IOV_MAX
IDLE_SECONDS = 5.0
_RETRY_SECONDS = 5.0
BEAT_SECONDS = 60.0  # a sync on a dying disk may take long; longer than this is a hang


class _StoppedError(Exception):
    """The spool closes while the disk takes nothing."""


@dataclass(slots=True, eq=False)
class Active:
    """The segment a lane is appended to, as the writer holds it."""

    fd: int
    segment: Segment
    size: int  # written so far
    fresh: bool = True  # its name is not durable yet
    unsynced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How the writer tells the loop; each is called on the loop."""

    durable: Callable[[list[Job], dict[str, int], int], None]  # jobs done, heads, number of the commit
    closed: Callable[[str | None], None]  # why nothing can be stored; None: it can again
    crowded: Callable[[bool], None]  # over a limit; True: it is the disk that runs out
    sealed: Callable[[], None]
    answer: Callable[[], None]  # to `ask`


@dataclass(slots=True, eq=False, kw_only=True)
class Writer:
    """Owns every descriptor that records are written through."""

    lanes: Mapping[str, Lane]
    state: StateDirectory
    settings: Settings
    clock: Clock
    loop: asyncio.AbstractEventLoop
    report: Report
    beat: Callable[[float], None]
    group: int  # the number of the last commit
    closed: str | None = None
    _queue: queue.SimpleQueue[Job | None] = field(default_factory=queue.SimpleQueue)
    _wake: threading.Event = field(default_factory=threading.Event)
    _active: dict[str, Active] = field(default_factory=dict)
    _stopping: bool = False
    _asked: bool = False
    _synced: float = 0.0

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
        try:
            while not (self._stopping and self._queue.empty()):
                jobs = self._gather()
                if jobs:
                    self._commit(jobs)
                self._chores()
        except _StoppedError:
            pass
        except Exception:
            # A bug. Nothing more is acknowledged, and the watchdog misses the beat.
            log.exception("the spool's writer failed")
            self._close("the writer failed, see the log")
        finally:
            for lane in self.lanes.values():
                self._seal(lane)

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
        if self.settings.durability == "interval" and any(active.unsynced for active in self._active.values()):
            return max(0.0, self._synced + self.settings.interval - time.monotonic())
        return IDLE_SECONDS

    def _commit(self, jobs: list[Job]) -> None:
        parts: dict[str, list[Part]] = {}
        for job in jobs:
            for part in job.parts:
                if part.records:
                    parts.setdefault(part.lane, []).append(part)
        heads: dict[str, int] = {}
        # In the order of their names: see gather.claim_once.
        for name in sorted(parts):
            heads[name] = self._write(self.lanes[name], drafts(parts[name], self.clock))
        self._tell(self.report.durable, jobs, heads, self.group)
        self._alive()

    def _write(self, lane: Lane, work: list[Draft]) -> int:
        failures = 0
        head = self._end(lane)
        while work:
            try:
                chunk = self._chunk(lane, work)
                head = self._put(lane, chunk, head)
            except OSError as error:
                failures += 1
                self._failed(lane, error, failures)
                continue
            if failures:
                self._recovered(lane)
                failures = 0
            del work[: len(chunk)]
            if work:
                self._tell(self.report.durable, [], {lane.name: head}, self.group)
        return head

    def _end(self, lane: Lane) -> int:
        active = self._active.get(lane.name)
        if active is not None:
            return active.segment.end
        # lane.head moves on the loop, a moment after the last segment did.
        last = lane.segments[-1].end if lane.segments else 0
        return max(last, lane.head)

    def _chunk(self, lane: Lane, work: list[Draft]) -> list[Draft]:
        """The frames that go into the active segment now; it is a new one where the last is full."""
        limit = self.settings.segment_size
        active = self._active.get(lane.name)
        if active is not None and (
            lane.seal
            or (active.size + work[0].size > limit and active.size > segments.HEADER_BYTES)
            or os.fstat(active.fd).st_nlink == 0  # deleted behind our back: what is written there is lost
        ):
            self._seal(lane)
            active = None
        used = active.size if active is not None else segments.HEADER_BYTES
        count, size = 0, 0
        for draft in work:
            if count and (used + size + draft.size > limit or 2 * (count + 1) > MOST_BUFFERS):
                break
            count, size = count + 1, size + draft.size
        self._await_room(size)
        return work[:count]

    def _put(self, lane: Lane, chunk: list[Draft], head: int) -> int:
        active = self._active.get(lane.name) or self._begin(lane, head)
        segment = active.segment
        self.group += 1
        buffers: list[bytes] = []
        places: list[tuple[int, int]] = []
        offset, index = active.size, head
        for draft in chunk:
            places.append((index, offset))
            buffers += (draft.header(segment.id, self.group, index) + draft.columns, draft.body)
            offset += draft.size
            index += draft.count
        if os.writev(active.fd, buffers) != offset - active.size:
            raise OSError(errno.ENOSPC, "short write")
        active.size = offset
        if self.settings.durability == "strict":
            self._sync(active)
        else:
            active.unsynced = True
        for at, place in places:
            segment.remember(at, place)
        segment.size, segment.end = offset, index
        if lane.active is not segment:
            segment.group = self.group
            lane.active = segment
            lane.add(segment)
        if sum(one.bytes for one in self.lanes.values()) > self.settings.max_bytes:
            self._tell(self.report.crowded, False)
        return index

    def _begin(self, lane: Lane, head: int) -> Active:
        self.state.prepare()
        if not lane.directory.is_dir():
            lane.directory.mkdir(mode=0o700)
            sync_directory(lane.directory.parent)
        disk = os.statvfs(lane.directory)
        if disk.f_bavail * disk.f_frsize < self.settings.min_free_bytes:
            self._tell(self.report.crowded, True)
        number = secrets.randbits(64)
        path = lane.directory / segments.name(head, number)
        fd = segments.create(path, number, head, self.clock.now(), lane.name)
        active = Active(fd, Segment(path, number, head, end=head), segments.HEADER_BYTES)
        self._active[lane.name] = active
        return active

    def _sync(self, active: Active) -> None:
        if active.fresh:
            os.fsync(active.fd)
            sync_directory(active.segment.path.parent)
            active.fresh = False
        else:
            os.fdatasync(active.fd)
        active.unsynced = False

    def _seal(self, lane: Lane) -> None:
        """Nothing more goes into the lane's active segment."""
        active = self._active.pop(lane.name, None)
        lane.seal, lane.active = False, None
        if active is None:
            return
        try:
            if active.unsynced and self.settings.durability == "interval":
                self._sync(active)
        except OSError as error:
            log.error("records may be lost in a power cut", file=str(active.segment.path), reason=str(error))
        finally:
            os.close(active.fd)
        self._tell(self.report.sealed)

    def _failed(self, lane: Lane, error: OSError, failures: int) -> None:
        active = self._active.pop(lane.name, None)
        lane.active = None
        if active is not None:
            self._abandon(active)
        if failures == 1 and self.closed is None:
            log.warning("spool segment sealed after an error, a new one follows", lane=lane.name, reason=str(error))
            return  # at once, in a new segment
        self._close(f"cannot write to {self.settings.directory}: {error.strerror or error}")
        self._rest(_RETRY_SECONDS)

    def _abandon(self, active: Active) -> None:
        """Leave a segment at its durable end, as far as the disk still lets us."""
        segment = active.segment
        try:
            if segment.end == segment.base:
                segment.path.unlink(missing_ok=True)
            else:
                os.ftruncate(active.fd, segment.size)
        except OSError:
            pass  # what stands beyond is not read: the next segment begins where this one is durable
        os.close(active.fd)

    def _recovered(self, lane: Lane) -> None:
        if self.closed is not None:
            log.warning("spool stores again", lane=lane.name, after=self.closed)
            self._open()

    def _await_room(self, size: int) -> None:
        """Wait while this would take the spool more than a segment beyond its limit."""
        limit = self.settings.max_bytes
        while True:
            total = sum(one.bytes for one in self.lanes.values())
            if total <= limit or total + size <= limit + self.settings.segment_size:
                return
            self._tell(self.report.crowded, False)
            self._rest(1.0)

    def _rest(self, seconds: float) -> None:
        """Wait, with the group in hand, for a kick."""
        self._alive()
        if self._stopping:
            raise _StoppedError
        self._wake.wait(seconds)
        self._wake.clear()
        if self._stopping:
            raise _StoppedError
        for lane in self.lanes.values():
            if lane.seal:
                self._seal(lane)

    def _chores(self) -> None:
        """What is due between two groups."""
        self._alive()
        self._wake.clear()
        for lane in list(self.lanes.values()):
            if lane.seal:
                self._seal(lane)
        if self.closed is not None:
            try:
                self.state.prepare()
            except OSError:
                pass  # still closed, and said so already
            else:
                log.warning("spool can be written again", after=self.closed)
                self._open()
        if self.settings.durability == "interval" and time.monotonic() >= self._synced + self.settings.interval:
            self._sync_all()

    def _sync_all(self) -> None:
        self._synced = time.monotonic()
        for name, active in list(self._active.items()):
            if not active.unsynced:
                continue
            try:
                self._sync(active)
            except OSError as error:
                log.error("records may be lost in a power cut", lane=name, reason=str(error))
                active.unsynced = False
                self._seal(self.lanes[name])

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

    def _open(self) -> None:
        self.closed = None
        self._tell(self.report.closed, None)

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(what, *args)
        except RuntimeError:
            pass  # the loop has ended; nobody waits any more
