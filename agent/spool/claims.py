"""
Redelivery: which stored messages their broker may send again, because it may not know they were taken.

Commits are numbered over all lanes and starts. An origin confirms up to a commit; what claims of its
lie beyond are in doubt after a crash, and a redelivery that matches one is not stored twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.spool.head import mark_of
from agent.spool.lane import Lane
from agent.spool.progress import Progress
from agent.spool.recovery import FoundLane, unacked


class Claims:
    """What is in doubt, for each origin. On the event loop only."""

    def __init__(self) -> None:
        self._acked: dict[str, int] = {}
        self._since: dict[str, int] = {}  # origin -> no claim of its up to this commit
        self._unacked: dict[str, dict[int, int]] = {}
        self._behind: set[str] = set()  # origins that have stored claims since theirs were read

    @classmethod
    def recovered(cls, found: Mapping[str, FoundLane], progress: Progress) -> Claims:
        """As the last run left them. Reads segments."""
        out = cls()
        floor = max((one.head.claims_from for one in found.values()), default=0)
        for one in found.values():
            for origin, group in one.head.acked.items():
                out._acked[origin] = max(out._acked.get(origin, 0), group)
        out._unacked = unacked(found, floor, out._acked, progress)
        out._since = dict.fromkeys(out._unacked, floor)
        return out

    def made(self, origin: str, group: int) -> None:
        """`origin` is about to store claims, after that commit."""
        self._since.setdefault(origin, group)
        self._behind.add(origin)

    def unacked(self, origin: str) -> dict[int, int]:
        """Packet id -> payload hash, as they were read last."""
        return dict(self._unacked.get(origin, {}))

    def is_behind(self, origin: str) -> bool:
        """Whether it has stored claims since they were read."""
        return origin in self._behind

    def recall(self, origin: str, lanes: Sequence[Lane]) -> None:
        """Read those of an origin that stores none meanwhile. Reads segments; off the loop."""
        found = {
            lane.name: FoundLane(lane.name, lane.directory, mark_of(lane.directory), list(lane.segments), lane.head)
            for lane in lanes
        }
        floor = max(self._since.get(origin, 0), self._acked.get(origin, 0))
        self._unacked[origin] = unacked(found, floor, {}, Progress()).get(origin, {})
        self._behind.discard(origin)

    def confirm(self, origin: str, group: int) -> None:
        """Nothing of `origin` up to that commit is in doubt any more."""
        self._acked[origin] = max(self._acked.get(origin, 0), group)
        self._unacked.pop(origin, None)

    def persistent(self, group: int) -> tuple[int, dict[str, int]]:
        """For the head marks: the commit up to which nobody is in doubt, and those who are further."""
        floor = min((max(since, self._acked.get(origin, 0)) for origin, since in self._since.items()), default=group)
        return floor, {origin: acked for origin, acked in self._acked.items() if acked > floor}
