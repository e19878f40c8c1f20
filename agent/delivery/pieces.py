"""
The pieces of one sink that are not settled, each a mirror of a plan in a cursor.

Every await may end in an eviction, so a piece is asked whether it is `alive` before its plan is touched.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from agent.delivery.form import UNNAMED, Draft, together
from agent.delivery.gaps import Gaps
from agent.delivery.piece import Piece
from agent.delivery.pulse import Pulse
from agent.delivery.tally import Tally
from agent.delivery.window import Share
from agent.ports import Limits
from agent.spool import Cursor, Gap, Plan, State


class Pieces:
    """The loop's alone; `live` holds every piece that is not settled."""

    def __init__(
        self,
        cursors: list[Cursor],
        *,
        limits: Limits,
        max_age: float,
        tally: Tally,
        gaps: Gaps,
        bodies: Share,
        pulse: Pulse,
    ) -> None:
        self.cursors = cursors  # former lanes first
        self.live: set[Piece] = set()
        self.gone: Callable[[Piece], None] = lambda piece: None  # told of evicted pieces
        # A batch is halved this often at most. So many plans are kept free for whatever comes first,
        # because its end is what frees the others.
        self.depth = 2 + math.ceil(math.log2(max(2, limits.records)))
        self._max_age = max_age
        self._tally = tally
        self._gaps = gaps
        self._bodies = bodies
        self._pulse = pulse

    def resume(self) -> list[Piece]:
        """Take over what was planned and not settled when the agent last ended."""
        for cursor in self.cursors:
            cursor.on_evict = lambda end, cursor=cursor: self._evicted(cursor, end)
            for plan in cursor.plans:
                if not plan.state.settled:
                    self.add(cursor, plan)
        self._tally.follow_evictions(self.cursors)
        return sorted(self.live, key=lambda piece: piece.key)

    def leave(self) -> None:
        """Let go of everything; the plans stay in the cursors."""
        for cursor in self.cursors:
            cursor.on_evict = None
        for piece in list(self.live):
            self.drop_body(piece)
        self.live.clear()

    def add(self, cursor: Cursor, plan: Plan, made_of: Draft | None = None) -> Piece:
        """A plan of the cursor becomes a piece."""
        piece = Piece(cursor, plan, self.cursors.index(cursor) if cursor.end is not None else len(self.cursors))
        if made_of is not None:
            piece.learn(made_of)
            piece.unfit = made_of.unfit
            if made_of.body is not None and self.keep_body(piece, made_of.body):
                piece.used = asyncio.get_running_loop().time()
        self.live.add(piece)
        return piece

    def lag(self) -> float:
        """Seconds since the oldest record was taken in of which there is a plan."""
        waits = [piece.cursor.lane.seconds_since(piece.oldest) for piece in self.live if piece.oldest is not None]
        return max(0.0, *waits) if waits else 0.0

    # Bodies.

    def keep_body(self, piece: Piece, body: bytes, *, sure: bool = False) -> bool:
        """Hold its body for it; False: there is no room for that. `sure`: it is the only one in flight."""
        if not self._bodies.take(len(body), sure=sure):
            return False
        piece.body = body
        return True

    def drop_body(self, piece: Piece) -> None:
        """Keep its body no longer."""
        if piece.body is not None:
            self._bodies.give(len(piece.body))
            piece.body = None

    # Plans.

    def spare(self, piece: Piece) -> int:
        """How many plans this piece may add; what lies before all others may use the last."""
        first = all(piece.key <= each.key for each in self.live if each.cursor is piece.cursor)
        return piece.cursor.room - (0 if first else self.depth)

    async def replace(self, piece: Piece, parts: list[Draft | Gap], needed: int = 0) -> list[Piece] | None:
        """Put parts in the place of a piece, durably; what does not fit stays together. None: no room at all."""
        cursor, state = piece.cursor, piece.plan.state
        spare = self.spare(piece) - needed
        if len(parts) > 1 and spare < 1:
            return None
        if len(parts) - 1 > spare:
            parts = [*parts[:spare], together(piece.plan.segment, parts[spare:])]
        children: list[Piece] = []
        shape = [(part.first, part.count, UNNAMED if isinstance(part, Gap) else part.crc) for part in parts]
        for plan, part in zip(cursor.replace(piece.plan, shape), parts, strict=True):
            if isinstance(part, Gap):
                cursor.settle(plan, part.state)
                self._tally.settled(part.state, part.count)
            else:
                plan.segment, plan.state = part.segment, state
                children.append(self.add(cursor, plan, part))
        self._forget(piece)
        await cursor.save()
        return [child for child in children if child.alive]

    # The end of a piece.

    def settle(self, piece: Piece, state: State) -> None:
        """Its records have met their fate."""
        if piece.alive:
            self._forget(piece)
            piece.cursor.settle(piece.plan, state)
            piece.cursor.touch()
            self._tally.settled(state, piece.count)
            self._pulse.stir()

    def is_too_old(self, piece: Piece) -> bool:
        """Whether even the newest of its records has waited longer than is allowed; not where nobody can tell."""
        return piece.newest is not None and piece.cursor.lane.seconds_since(piece.newest) > self._max_age

    def expire(self, piece: Piece) -> None:
        """It became too old before it could be sent (again): it goes as a whole, even if it was taken once, maybe."""
        if piece.alive and piece.oldest is not None and piece.newest is not None:
            lane = piece.cursor.lane
            now = asyncio.get_running_loop().time()
            self._gaps.add(piece.count, lane.wall(piece.oldest), lane.wall(piece.newest), now)
            self.settle(piece, State.EXPIRED)

    def book(self, gap: Gap) -> None:
        """Records that no batch was made of have met their fate."""
        self._tally.settled(gap.state, gap.count)
        if gap.state is State.EXPIRED:
            self._gaps.add(gap.count, gap.oldest_ms, gap.newest_ms, asyncio.get_running_loop().time())

    def _forget(self, piece: Piece) -> None:
        piece.alive = False
        self.drop_body(piece)
        self.live.discard(piece)

    def _evicted(self, cursor: Cursor, end: int) -> None:
        """The spool is about to evict everything below `end`, and books it itself."""
        for piece in [each for each in self.live if each.cursor is cursor and each.first < end]:
            self._forget(piece)
            self.gone(piece)
        self._pulse.stir()
        asyncio.get_running_loop().call_soon(self._tally.follow_evictions, [cursor])
