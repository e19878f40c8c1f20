"""
Pieces: formed and named, made again, taken apart, buried.

The order of things, so that a batch keeps its name: read, encode, crc, plan, plan durable, send. A
split replaces the parent by its parts in one durable write before either is sent; a dead letter is
durable before its record counts as dead. Every await may end in an eviction, so a piece is asked
whether it is `alive` before its plan is touched.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import structlog

from agent.delivery.form import UNNAMED, BrokenSinkError, Draft, around, draft, halves, marked
from agent.delivery.hands import Hands
from agent.delivery.letters import letters_of
from agent.delivery.piece import Piece
from agent.delivery.pieces import Pieces
from agent.delivery.pulse import Pulse
from agent.delivery.source import fetch, redraft, reread
from agent.delivery.window import Window
from agent.ports import Limits, Sink
from agent.spool import Cursor, Gap, Kind, NotYet, Part, Spool, State, Stretch

log = structlog.get_logger()

DEAD_LANE = "dead"


class Batches:
    """What is done with the pieces of one sink; the loop's alone."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        pieces: Pieces,
        *,
        limits: Limits,
        max_age: float,
        stretch: Stretch | None,
        spool: Spool,
        hands: Hands,
        pulse: Pulse,
    ) -> None:
        self.window = Window(limits.bytes)
        self.held: NotYet | None = None  # what the last forming left because its stretch is not over
        self._name = name
        self._sink = sink
        self._pieces = pieces
        self._limits = limits
        self._max_age = max_age
        self._stretch = stretch
        self._spool = spool
        self._hands = hands
        self._pulse = pulse

    # What there is.

    @property
    def source(self) -> Cursor:
        """The cursor that new batches come from: a former lane first, the sink's own for ever."""
        return next(one for one in self._pieces.cursors if one.end is None or one.planned_end < one.end)

    def has_room(self) -> bool:
        """Whether another batch may be planned, with room left for splits."""
        return self.source.room > 2 * self._pieces.depth

    def is_full(self, cursor: Cursor) -> bool:
        """Whether a whole batch waits."""
        at = cursor.planned_end
        if cursor.end is not None or cursor.lane.head - at >= self._limits.records:
            return True
        if cursor.lane.segments and cursor.lane.segments[-1].base > at:
            return True  # a batch ends where its segment does, and nothing more goes into that one
        return cursor.lane.bytes_between(at, cursor.lane.head) >= self.window.size

    def lag(self) -> float:
        """Seconds since the oldest record was taken in that is planned or held back; what comes after is younger."""
        held = self.held
        waits = 0.0 if held is None or self.source.plans else (self.source.lane.now() - held.oldest_ms) / 1000
        return max(waits, self._pieces.lag())

    # Forming.

    async def form(self, most: int, *, hurry: bool = False) -> list[Piece]:
        """
        Up to `most` new batches, planned and durable, as far as whole ones wait; the first may be a part.

        What has to wait for its stretch to be over stays unplanned, and `held` says until when. With
        `hurry` nothing has to.
        """
        cursor = self.source
        stretch = self._stretch
        if stretch is not None and hurry:
            stretch = replace(stretch, patient=False)
        self.held = None
        made: list[Piece] = []
        while (
            len(made) < most and self.has_room() and cursor is self.source and not (made and not self.is_full(cursor))
        ):
            drafts = await fetch(
                cursor,
                self._limits.records,
                self.window.size,
                max_age=self._max_age,
                stretch=stretch,
                booked=self._pieces.book,
                drafting=partial(draft, self._sink, limit=self.window.size),
                hands=self._hands,
            )
            if isinstance(drafts, NotYet):
                self.held = drafts
                break
            if not drafts:
                break
            for each in drafts:
                if cursor.room <= self._pieces.depth:
                    break  # the others are formed again when there is room
                made.append(self._pieces.add(cursor, cursor.plan(each.segment, each.first, each.count, each.crc), each))
            # One sink that catches up leaves the loop to the others after every batch.
            await asyncio.sleep(0)
        # Where every batch is one record, its boundaries are known without a plan on disk.
        if made and self._limits.records > 1:
            await cursor.save()
        return [piece for piece in made if piece.alive]

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
            return await self._pieces.replace(piece, parts)
        piece.learn(made)
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
        while piece.alive and not self._pieces.keep_body(piece, made.body, sure=alone()):
            await self._pulse.wait()
        return [piece] if piece.alive else []

    # Taking apart.

    async def split(self, piece: Piece, named: frozenset[int] | None, *, sparing: bool) -> list[Piece] | None:
        """
        Replace a refused piece by its parts: around the records that the far side named, or by halves.

        None: the cursor has no room for more plans just now. `sparing`: leave room for new batches.
        """
        needed = 2 * self._pieces.depth + 1 if sparing else 0
        bounds = halves(piece.count)
        if named and any(0 <= position < piece.count for position in named):
            exact = around(piece.count, named, alone=True)
            if 1 < len(exact) <= self._pieces.spare(piece) - needed:
                bounds = exact
        if self._pieces.spare(piece) - needed < len(bounds) - 1:
            return None
        self._pieces.drop_body(piece)
        parts = await self._parts(piece, [(piece.first + start, stop - start) for start, stop in bounds])
        if not piece.alive:
            return []
        return await self._pieces.replace(piece, parts, needed)

    async def part_unfit(self, piece: Piece, reasons: Mapping[int, str]) -> list[Piece] | None:
        """
        Replace a piece by the records that its sink can never send (position -> reason) and the stretches around them.

        None: the cursor has no room for more plans just now. What shares a plan for want of others is
        told apart when its turn comes.
        """
        unfit = {piece.first + position: reason for position, reason in reasons.items()}
        bounds = [(piece.first + start, stop - start) for start, stop in around(piece.count, reasons)]
        self._pieces.drop_body(piece)
        parts = await self._parts(piece, bounds)
        if not piece.alive:
            return []
        return await self._pieces.replace(piece, [marked(part, unfit) for part in parts])

    def _renamed(self, piece: Piece) -> None:
        ledger = piece.cursor.ledger
        if not ledger.renamed:
            log.warning("a planned batch would now be other bytes: renamed", sink=self._name, records=piece.count)
        ledger.renamed += 1

    async def bury(self, piece: Piece) -> None:
        """Write the dead letters of a convicted or unfit piece, then settle it."""
        found = await self._hands.do(reread, piece.cursor.lane, piece.first, piece.count)
        if not piece.alive:
            return
        if len(found) > 1:
            # Some of an unfit stretch is gone meanwhile: each part to its own fate.
            parts = await self._parts(piece, [(piece.first, piece.count)])
            children: list[Piece] | None = []
            while piece in self._pieces.live and (children := await self._pieces.replace(piece, parts)) is None:
                await self._pulse.wait()
            for child in children or []:
                child.unfit, child.error = piece.unfit, piece.error
                await self.bury(child)
            return
        [run] = found
        if isinstance(run, Gap):
            self._pieces.settle(piece, run.state)
            return
        letters = letters_of(self._name, piece, run)
        part = Part(DEAD_LANE, f"sink.{self._name}", letters, time.time_ns() // 1_000_000, Kind.DEAD)
        # Shielded: the spool's own future is not ours to cancel.
        await asyncio.shield(self._spool.append([part]))
        self._pieces.settle(piece, State.DEAD)
