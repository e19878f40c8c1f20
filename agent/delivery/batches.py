"""
Pieces and their plans: formed, named, made again, taken apart, buried, settled.

The order of things, so that a batch keeps its name: read, encode, crc, plan, plan durable, send. A
split replaces the parent by its parts in one durable write before either is sent; a dead letter is
durable before its record counts as dead. Every await may end in an eviction, so a piece is asked
whether it is `alive` before its plan is touched.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial

import structlog

from agent.delivery.form import BrokenSinkError, Draft, around, draft, halves
from agent.delivery.hands import Hands
from agent.delivery.letters import dead_letter
from agent.delivery.piece import Piece
from agent.delivery.pulse import Pulse
from agent.delivery.source import fetch, redraft, reread
from agent.delivery.tally import Tally
from agent.delivery.window import Share, Window
from agent.ports import Limits, Sink
from agent.spool import Cursor, Gap, Kind, Part, Plan, Spool, State

log = structlog.get_logger()

DEAD_LANE = "dead"
UNNAMED = 0  # the crc of a stretch that gets its name when its turn comes; nothing was sent under it


class Batches:
    """The pieces of one sink. The loop's alone; `live` holds every piece that is not settled."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        cursors: list[Cursor],
        *,
        limits: Limits,
        max_age: float | None,
        spool: Spool,
        tally: Tally,
        bodies: Share,
        hands: Hands,
        pulse: Pulse,
    ) -> None:
        self.cursors = cursors  # former lanes first
        self.live: set[Piece] = set()
        self.window = Window(limits.bytes)
        self.gone: Callable[[Piece], None] = lambda piece: None  # told of evicted pieces
        self._name = name
        self._sink = sink
        self._limits = limits
        self._max_age = max_age
        self._spool = spool
        self._tally = tally
        self._bodies = bodies
        self._hands = hands
        self._pulse = pulse
        # A batch is halved this often at most. So many plans are kept free for whatever comes first,
        # because its end is what frees the others.
        self._depth = 2 + math.ceil(math.log2(max(2, limits.records)))

    # What there is.

    @property
    def source(self) -> Cursor:
        """The cursor that new batches come from: a former lane first, the sink's own for ever."""
        return next(cursor for cursor in self.cursors if cursor.end is None or cursor.planned_end < cursor.end)

    def has_room(self) -> bool:
        """Whether another batch may be planned, with room left for splits."""
        return self.source.room > 2 * self._depth

    def is_full(self, cursor: Cursor) -> bool:
        """Whether a whole batch waits."""
        at = cursor.planned_end
        if cursor.end is not None or cursor.lane.head - at >= self._limits.records:
            return True
        return cursor.lane.bytes_between(at, cursor.lane.head) >= self.window.size

    def resume(self) -> list[Piece]:
        """Take over what was planned and not settled when the agent last ended."""
        for cursor in self.cursors:
            cursor.on_evict = lambda end, cursor=cursor: self._evicted(cursor, end)
            for plan in cursor.plans:
                if not plan.state.settled:
                    self._piece(cursor, plan)
        self._tally.follow_evictions(self.cursors)
        return sorted(self.live, key=lambda piece: piece.key)

    def leave(self) -> None:
        """Let go of everything; the plans stay in the cursors."""
        for cursor in self.cursors:
            cursor.on_evict = None
        for piece in list(self.live):
            self.drop_body(piece)
        self.live.clear()

    # Forming.

    async def form(self, most: int) -> list[Piece]:
        """Up to `most` new batches, planned and durable, as far as whole ones wait; the first may be a part."""
        cursor = self.source
        made: list[Piece] = []
        while (
            len(made) < most and self.has_room() and cursor is self.source and not (made and not self.is_full(cursor))
        ):
            drafts = await fetch(
                cursor,
                self._limits.records,
                self.window.size,
                max_age=self._max_age,
                booked=self._tally.settled,
                drafting=partial(draft, self._sink, limit=self.window.size),
                hands=self._hands,
            )
            if not drafts:
                break
            for each in drafts:
                if cursor.room <= self._depth:
                    break  # the others are formed again when there is room
                made.append(self._piece(cursor, cursor.plan(each.segment, each.first, each.count, each.crc), each))
            # One sink that catches up leaves the loop to the others after every batch.
            await asyncio.sleep(0)
        # Where every batch is one record, its boundaries are known without a plan on disk.
        if made and self._limits.records > 1:
            await cursor.save()
        return [piece for piece in made if piece.alive]

    def _piece(self, cursor: Cursor, plan: Plan, made_of: Draft | None = None) -> Piece:
        piece = Piece(cursor, plan, self.cursors.index(cursor) if cursor.end is not None else len(self.cursors))
        if made_of is not None:
            piece.oldest_ms, piece.size, piece.unfit = made_of.oldest_ms, made_of.size, made_of.unfit
            if made_of.body is not None and self._bodies.take(len(made_of.body)):
                piece.body = made_of.body
                piece.used = asyncio.get_running_loop().time()
        self.live.add(piece)
        return piece

    async def _parts(self, piece: Piece, bounds: list[tuple[int, int]]) -> list[Draft | Gap]:
        drafting = partial(draft, self._sink, limit=math.inf)
        return await self._hands.do(redraft, piece.cursor.lane, bounds, drafting)

    # Bodies.

    async def restore(self, piece: Piece, alone: Callable[[], bool]) -> list[Piece] | None:
        """
        Make its body again: gives the piece itself, or what had to take its place; None: no room for that now.

        The same bytes keep the name; others (a changed mapping or program) get theirs before they
        are sent. `alone`: no other of the sink is in flight. Raises BrokenSinkError.
        """
        plan = piece.plan
        parts = await self._parts(piece, [(piece.first, piece.count)])
        if not piece.alive:
            return []
        made = parts[0]
        if len(parts) > 1 or isinstance(made, Gap):
            return await self._replace(piece, parts)
        piece.oldest_ms, piece.size = made.oldest_ms, made.size
        if made.bug is not None:
            raise BrokenSinkError(made.bug)
        piece.unfit = made.unfit
        if made.body is None:
            return [piece]
        if (made.segment, made.crc) != (plan.segment, plan.crc):
            if plan.crc != UNNAMED:
                self._renamed(piece)
            plan.segment, plan.crc = made.segment, made.crc
            await piece.cursor.save()
        while piece in self.live and not self._bodies.take(len(made.body), sure=alone()):
            await self._pulse.wait()
        if piece not in self.live:
            return []
        piece.body = made.body
        return [piece]

    def drop_body(self, piece: Piece) -> None:
        """Keep its body no longer."""
        if piece.body is not None:
            self._bodies.give(len(piece.body))
            piece.body = None

    # Taking apart.

    async def split(self, piece: Piece, named: frozenset[int] | None, *, sparing: bool) -> list[Piece] | None:
        """
        Replace a refused piece by its parts: around the records that the far side named, or by halves.

        None: the cursor has no room for more plans just now. `sparing`: leave room for new batches.
        """
        needed = 2 * self._depth + 1 if sparing else 0
        bounds = halves(piece.count)
        if named and any(0 <= position < piece.count for position in named):
            exact = around(piece.count, named, alone=True)
            if 1 < len(exact) <= self._spare(piece) - needed:
                bounds = exact
        if self._spare(piece) - needed < len(bounds) - 1:
            return None
        self.drop_body(piece)
        parts = await self._parts(piece, [(piece.first + start, stop - start) for start, stop in bounds])
        if not piece.alive:
            return []
        return await self._replace(piece, parts, needed)

    def _spare(self, piece: Piece) -> int:
        """How many plans this piece may add; what lies before all others may use the last."""
        first = all(piece.key <= each.key for each in self.live if each.cursor is piece.cursor)
        return piece.cursor.room - (0 if first else self._depth)

    async def _replace(self, piece: Piece, parts: list[Draft | Gap], needed: int = 0) -> list[Piece] | None:
        """Put parts in the place of a piece, durably; what does not fit stays together. None: no room at all."""
        cursor, state = piece.cursor, piece.plan.state
        spare = self._spare(piece) - needed
        if len(parts) > 1 and spare < 1:
            return None
        if len(parts) - 1 > spare:
            parts = [*parts[:spare], _rest(piece.plan, parts[spare:])]
        children: list[Piece] = []
        shape = [(part.first, part.count, UNNAMED if isinstance(part, Gap) else part.crc) for part in parts]
        for plan, part in zip(cursor.replace(piece.plan, shape), parts, strict=True):
            if isinstance(part, Gap):
                cursor.settle(plan, part.state)
                self._tally.settled(part.state, part.count)
            else:
                plan.segment, plan.state = part.segment, state
                children.append(self._piece(cursor, plan, part))
        self._forget(piece)
        await cursor.save()
        return [child for child in children if child.alive]

    def _renamed(self, piece: Piece) -> None:
        ledger = piece.cursor.ledger
        if not ledger.renamed:
            log.warning("a planned batch would now be other bytes: renamed", sink=self._name, records=piece.count)
        ledger.renamed += 1

    # The end of a piece.

    def settle(self, piece: Piece, state: State) -> None:
        """Its records have met their fate."""
        if piece.alive:
            self._forget(piece)
            piece.cursor.settle(piece.plan, state)
            piece.cursor.touch()
            self._tally.settled(state, piece.count)
            self._pulse.stir()

    async def bury(self, piece: Piece) -> None:
        """Write the dead letters of a convicted or unfit piece, then settle it."""
        found = await self._hands.do(reread, piece.cursor.lane, piece.first, piece.count)
        if not piece.alive:
            return
        if len(found) > 1:
            # Some of an unfit stretch is gone meanwhile: each part to its own fate.
            parts = await self._parts(piece, [(piece.first, piece.count)])
            children: list[Piece] | None = []
            while piece in self.live and (children := await self._replace(piece, parts)) is None:
                await self._pulse.wait()
            for child in children or []:
                child.unfit, child.error = piece.unfit, piece.error
                await self.bury(child)
            return
        [run] = found
        if isinstance(run, Gap):
            self.settle(piece, run.state)
            return
        letters = []
        for index, record in enumerate(run.records(), run.first):
            error = piece.error
            reason = (piece.unfit or {}).get(index) or (error.reason if error is not None else "refused")
            status, answer = (None, "") if error is None or piece.unfit else (error.status, error.answer)
            letters.append(dead_letter(self._name, run.segment_id, index, record, reason, status, answer))
        part = Part(DEAD_LANE, f"sink.{self._name}", letters, time.time_ns() // 1_000_000, Kind.DEAD)
        # Shielded: the spool's own future is not ours to cancel.
        await asyncio.shield(self._spool.append([part]))
        self.settle(piece, State.DEAD)

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


def _rest(plan: Plan, parts: list[Draft | Gap]) -> Draft:
    """Parts for which there are no plans yet, as one."""
    oldest = min((part.oldest_ms for part in parts if isinstance(part, Draft)), default=0)
    count = sum(part.count for part in parts)
    return Draft(segment=plan.segment, first=parts[0].first, count=count, crc=UNNAMED, oldest_ms=oldest)
