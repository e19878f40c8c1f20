"""
The segments that are written to: one for each lane, in the writer's hands alone.

New segment: file, then directory, then the first acknowledgement. After an error a descriptor is
never written to or synced again; what its segment holds beyond the durable end is not part of the lane.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from agent.spool import segment as segments
from agent.spool.clock import Clock
from agent.spool.frame import Draft
from agent.spool.lane import Lane
from agent.spool.mark import sync_directory
from agent.spool.segment import Segment
from agent.spool.settings import Settings
from agent.spool.state import StateDirectory

log = structlog.get_logger()

MOST_BUFFERS = 1024  # IOV_MAX


@dataclass(slots=True, eq=False)
class Active:
    """A segment that is written to."""

    lane: Lane
    fd: int
    segment: Segment
    fresh: bool = True  # its name is not durable yet
    unsynced: bool = False


@dataclass(slots=True, eq=False, kw_only=True)
class Appender:
    """Appends frames to lanes. Every method blocks; those that write raise OSError."""

    state: StateDirectory
    settings: Settings
    clock: Clock
    disk_low: Callable[[], None]  # a new segment finds less than `min_free_bytes`
    sealed: Callable[[], None]
    _active: dict[str, Active] = field(default_factory=dict)

    def end(self, lane: Lane) -> int:
        """The index the next record gets."""
        # lane.head moves on the loop, a moment after the last segment's end did.
        last = lane.segments[-1].end if lane.segments else 0
        return max(last, lane.head)

    def fitting(self, lane: Lane, work: Sequence[Draft]) -> tuple[int, int]:
        """How many frames go into one write, and their bytes; a segment that is full is sealed first."""
        limit = self.settings.segment_size
        active = self._active.get(lane.name)
        if active is not None and (
            lane.seal
            or active.lane is not lane  # of a lane of that name that went
            or active.segment.size + work[0].size > max(limit, segments.HEADER_BYTES + work[0].size)
            or os.fstat(active.fd).st_nlink == 0  # deleted behind our back: what is written there is lost
        ):
            self.seal(lane)
            active = None
        used = segments.HEADER_BYTES if active is None else active.segment.size
        count, size = 0, 0
        for draft in work:
            if count and (used + size + draft.size > limit or count + 1 > MOST_BUFFERS):
                break
            count, size = count + 1, size + draft.size
        return count, size

    def put(self, lane: Lane, drafts: Sequence[Draft], head: int, group: int) -> int:
        """Write frames from index `head` on with one writev and one sync; the index after them."""
        active = self._active.get(lane.name) or self._begin(lane, head)
        segment = active.segment
        frames: list[bytes] = []
        places: list[tuple[int, int]] = []
        offset, index = segment.size, head
        for draft in drafts:
            places.append((index, offset))
            frames.append(b"".join((draft.header(segment.id, group, index), draft.columns, draft.body)))
            offset += draft.size
            index += draft.count
        if os.writev(active.fd, frames) != offset - segment.size:
            raise OSError(errno.ENOSPC, "short write, no space left")
        active.unsynced = True
        if self.settings.durability == "strict":
            self._sync(active)
        for (at, place), frame in zip(places, frames, strict=True):
            segment.remember(at, place)
            lane.tail.add(segment.id, place, frame)
        segment.size, segment.end = offset, index
        if lane.active is not segment:
            segment.group = group
            lane.active = segment
            lane.add(segment)
        return index

    def seal(self, lane: Lane) -> None:
        """Nothing more goes into the lane's active segment."""
        active = self._active.pop(lane.name, None)
        lane.seal, lane.active = False, None
        if active is None:
            return
        try:
            # A lane that went has taken its segment along: there is nothing to be kept then.
            if active.unsynced and self.settings.durability != "none" and os.fstat(active.fd).st_nlink:
                self._sync(active)
        except OSError as error:
            _doubt(active, error)
        finally:
            os.close(active.fd)
        self.sealed()

    def seal_asked(self) -> None:
        """Seal where the janitor wants a segment to go, and where a lane is written to no more."""
        for active in list(self._active.values()):
            if active.lane.seal:
                self.seal(active.lane)

    def close(self) -> None:
        """Seal everything."""
        for active in list(self._active.values()):
            self.seal(active.lane)

    def abandon(self, lane: Lane) -> None:
        """After an error: leave the active segment at its durable end, as far as the disk still lets us."""
        active = self._active.pop(lane.name, None)
        lane.active = None
        if active is None:
            return
        segment = active.segment
        try:
            if segment.end == segment.base:
                segment.path.unlink(missing_ok=True)
            else:
                os.ftruncate(active.fd, segment.size)
        except OSError:
            pass  # what stands beyond is not read: the next segment begins where this one is durable
        os.close(active.fd)
        self.sealed()

    @property
    def unsynced(self) -> bool:
        """Whether something waits for a sync."""
        return any(active.unsynced for active in self._active.values())

    def sync(self) -> None:
        """Make everything durable that was written without a sync."""
        for active in [each for each in self._active.values() if each.unsynced]:
            try:
                self._sync(active)
            except OSError as error:
                _doubt(active, error)
                active.unsynced = False  # this descriptor is not synced again
                self.seal(active.lane)

    def _begin(self, lane: Lane, head: int) -> Active:
        self.state.prepare()
        if not lane.directory.is_dir():
            lane.directory.mkdir(mode=0o700)
            sync_directory(lane.directory.parent)
        disk = os.statvfs(lane.directory)
        if disk.f_bavail * disk.f_frsize < self.settings.min_free_bytes:
            self.disk_low()
        number = secrets.randbits(64) or 1  # 0 stands for none
        path = lane.directory / segments.name(head, number)
        fd = segments.create(path, number, head, self.clock.now(), lane.name)
        active = self._active[lane.name] = Active(lane, fd, Segment(path, number, head, end=head))
        return active

    def _sync(self, active: Active) -> None:
        if active.fresh:
            os.fsync(active.fd)
            sync_directory(active.segment.path.parent)
            active.fresh = False
        else:
            os.fdatasync(active.fd)
        active.unsynced = False


def _doubt(active: Active, error: OSError) -> None:
    log.error("records may be lost in a power cut", file=str(active.segment.path), reason=str(error))
