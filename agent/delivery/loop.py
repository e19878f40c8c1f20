"""
One sink's delivery: form a batch, plan it, send it, settle it; for ever, whatever the far side does.

    forming ──▸ new pieces ──▸ ┌─────────┐ ──next──▸ attempt ──▸ sink.send
                               │ verdict │                          │
    split, restored ─────────▸ └─────────┘ ◂───────── outcome ◂─────┘
                                    └──▸ settle (cursor) · bury (dead letter, then settle)

Forming, the dispatcher and one task for each attempt share the verdict on the event loop; what they
wait for is a change, and a `Pulse` says that there was one. Cancelled anywhere in here, the batches
stay planned: being stopped is not an outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from random import Random

from agent.delivery.batches import Batches
from agent.delivery.episode import Episode
from agent.delivery.form import BrokenSinkError
from agent.delivery.former import close_former
from agent.delivery.forming import Forming, stretch_of
from agent.delivery.gaps import Gaps
from agent.delivery.hands import Hands
from agent.delivery.notice import Tell
from agent.delivery.opening import opened
from agent.delivery.outcomes import Outcomes
from agent.delivery.piece import Piece
from agent.delivery.pieces import Pieces
from agent.delivery.pulse import Pulse
from agent.delivery.resend import Resending
from agent.delivery.tally import Tally, end_of, queued
from agent.delivery.verdict import Verdict
from agent.delivery.window import Bodies
from agent.errors import DeliveryError, Retryable, Unfit
from agent.options import DeliveryOptions
from agent.ports import Parcel, Send, Sink
from agent.record import Run, batch_id
from agent.spool import Cursor, Spool, State
from agent.stats import Part, Stats

LONGEST_SEND = 600.0  # a sink has its own timeout; this is for one whose timeout fails
TICK = 15.0  # an idle loop looks around this often
KEEP_BODY = 30.0  # a body that was of no use for so long is made again when it is


class Delivery:
    """Sends what its cursors have before them to one sink."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        cursors: Sequence[Cursor],
        *,
        options: DeliveryOptions,
        spool: Spool,
        stats: Stats,
        part: Part,
        rng: Random,
        bodies: Bodies,
        pool: Executor,
        tell: Tell | None = None,
    ) -> None:
        """`tell` hears on the loop of each change of state, and of each gap at its end."""
        self.name = name
        self._sink = sink
        self._limits = options.over(sink.limits)
        self._spool = spool
        self._part = part
        self._hands = Hands(name, pool, part)
        self._rng = rng
        self._pulse = Pulse()
        self._tally = Tally(name, stats)
        self._cursors = list(cursors)
        tell = tell or (lambda notice: None)
        max_age = options.longest_wait(sink.limits, spool.settings.max_age)
        self._gaps = Gaps(name, max_age, tell)
        self._bodies, self._share = bodies, bodies.share()
        self._pieces = Pieces(
            self._cursors,
            limits=self._limits,
            max_age=max_age,
            tally=self._tally,
            gaps=self._gaps,
            bodies=self._share,
            pulse=self._pulse,
        )
        self._batches = Batches(
            name,
            sink,
            self._pieces,
            limits=self._limits,
            max_age=max_age,
            stretch=stretch_of(self._limits.window, rng),
            spool=spool,
            hands=self._hands,
            pulse=self._pulse,
        )
        self._forming = Forming(self._batches, self._limits, self._pulse)
        self._tally.show(self._cursors, self._batches.lag)
        self._verdict = Verdict(in_flight=self._limits.in_flight, rng=rng)
        self._episode = Episode(name, part, self.queued, now_ms=self._cursors[-1].lane.now, tell=tell)
        self._resending = Resending(
            sink,
            hands=self._hands,
            tally=self._tally,
            pulse=self._pulse,
            pause=lambda now: self._verdict.pause(now),  # noqa: PLW0108 - each run has a verdict of its own
            longest=LONGEST_SEND,
        )
        self._is_landing = False
        self._sending: dict[Piece, asyncio.Task[None]] = {}
        self._requests = 0  # of these, how many have really begun to send

    def queued(self) -> int:
        """How many records wait to be settled."""
        return queued(self._cursors)

    @property
    def in_flight(self) -> int:
        """How many batches are on their way."""
        return len(self._sending)

    async def run(self) -> None:
        """Work until cancelled."""
        async with AsyncExitStack() as stack:
            send = await opened(
                self._sink,
                stack,
                episode=self._episode,
                part=self._part,
                rng=self._rng,
                longest=LONGEST_SEND,
                slack=TICK,
            )
            self._verdict = Verdict(in_flight=self._limits.in_flight, rng=self._rng)
            self._pieces.gone = self._gone
            try:
                async with asyncio.TaskGroup() as group:
                    self._verdict.add(self._pieces.resume())
                    self._outcomes = Outcomes(
                        self.name,
                        verdict=self._verdict,
                        pieces=self._pieces,
                        batches=self._batches,
                        episode=self._episode,
                        gaps=self._gaps,
                        pulse=self._pulse,
                        group=group,
                        sending=self._sending,
                    )
                    forming = self._forming.run(self._verdict, self._outcomes.admit)
                    group.create_task(forming, name=f"{self.name}: form")
                    former = close_former(self.name, self._cursors, self._spool, self._pulse)
                    group.create_task(former, name=f"{self.name}: former lanes")
                    self._resending.through = send
                    self._pulse.stir()
                    await self._dispatch(group, send)
            finally:
                self._resending.through = None
                self._pieces.leave()
                self._sending.clear()
                self._gaps.say(asyncio.get_running_loop().time())

    async def drained(self) -> bool:
        """
        Return when all that waits now is settled (True), or when waiting on is of no use (False).

        From the first call on, batches are not waited for to fill: the agent is stopping.
        """
        self._forming.hurry = True
        self._pulse.stir()
        goals = [(cursor, end_of(cursor)) for cursor in self._cursors]
        while any(cursor.position < goal for cursor, goal in goals):
            planned = all(cursor.planned_end >= goal for cursor, goal in goals)
            deciding = len(self._pieces.live) > len(self._verdict.pieces)
            if self._verdict.probing or (planned and not deciding and self._verdict.stuck()):
                return False
            await self._pulse.wait()
        return True

    async def landed(self) -> None:
        """Send nothing more, and return once what is on its way has its outcome: another delivery is to go on."""
        self._is_landing = True
        while self._sending:
            await self._pulse.wait()

    def end(self) -> None:
        """It does not run any more, and will not: let go of what it shares with others."""
        self._bodies.leave(self._share)
        self._resending.end()

    async def resend(self, run: Run) -> None:
        """
        Send a run (as a rule one record, out of a dead letter) beside what waits; return once it is taken.

        One at a time, under its batch id; nothing is planned, retried or booked, and nobody is blamed.
        Waits while the sink is not open, and while the far side has asked to be left alone. Raises Unfit,
        a DeliveryError, or BrokenSinkError.
        """
        await self._resending.send(run)

    # Sending.

    async def _dispatch(self, group: asyncio.TaskGroup, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        look_at = clock() + TICK
        while True:
            now = clock()
            if now >= look_at:
                look_at = now + TICK
                self._look_around(now)
            while not self._is_landing and (piece := self._verdict.next(now)) is not None:
                self._sending[piece] = group.create_task(self._attempt(piece, send), name=f"{self.name}: {piece.first}")
            if not self._requests:
                self._beat(4 * TICK)
            try:
                async with asyncio.timeout(min(look_at - now, self._verdict.due(now))):
                    await self._pulse.wait()
            except TimeoutError:
                continue

    def _beat(self, within: float) -> None:
        """All is well, unless a thread hangs over the spool: whatever else goes on then, some of it never will."""
        if self._hands.longest() < LONGEST_SEND:
            self._part.beat(within)

    def _look_around(self, now: float) -> None:
        self._outcomes.expire_pool()
        self._episode.remind(now)
        self._gaps.remind(now)
        self._tally.follow_evictions(self._cursors)
        for piece in self._verdict.pool:
            if now - piece.used > KEEP_BODY:
                self._pieces.drop_body(piece)

    async def _attempt(self, piece: Piece, send: Send) -> None:
        try:
            if piece.has_other_times():
                self._pieces.drop_body(piece)
            if piece.body is None and not await self._restore(piece):
                return
            if self._outcomes.is_expired(piece):
                return
            before, body = piece.plan.state, piece.body or b""
            error = await self._send(piece, body, send)
            self._tally.requested(error, len(body), again=piece.tries > 1)
            self._beat(LONGEST_SEND + TICK)
            if piece.alive:
                if isinstance(error, DeliveryError | Unfit) and not (isinstance(error, Retryable) and error.ambiguous):
                    piece.plan.state = before  # this time it was not taken, for certain
                await self._outcomes.judge(piece, error)
        finally:
            self._verdict.returned(piece)
            self._sending.pop(piece, None)
            self._pulse.stir()

    async def _restore(self, piece: Piece) -> bool:
        """Whether the piece has its body again; if not, what has to happen instead is under way."""
        try:
            ready = await self._batches.restore(piece, lambda: self._is_alone(piece))
        except BrokenSinkError as broke:
            await self._outcomes.judge(piece, broke.bug)
            return False
        if piece.body is not None:
            return True
        if ready is None:
            self._outcomes.put_off(piece)
            return False
        self._verdict.forget(piece)
        self._outcomes.admit(ready, parent=piece)
        return False

    def _is_alone(self, piece: Piece) -> bool:
        return all(each.body is None for each in self._sending if each is not piece)

    async def _send(self, piece: Piece, body: bytes, send: Send) -> Exception | None:
        """One request; gives what was raised instead of raising it."""
        plan = piece.plan
        plan.state = State.MAYBE
        piece.cursor.touch()
        piece.tries += 1
        self._requests += 1
        self._beat(LONGEST_SEND + TICK)
        try:
            async with asyncio.timeout(LONGEST_SEND) as limit:
                await send(Parcel(batch_id(plan.segment, plan.first, plan.count, plan.crc), body, plan.count))
        except TimeoutError as error:
            if limit.expired():
                return Retryable(f"no outcome within {LONGEST_SEND:.0f} s", ambiguous=True)
            return error
        except Exception as error:  # noqa: BLE001 - every outcome is judged, a bug in the sink too
            return error
        finally:
            self._requests -= 1
            piece.used = asyncio.get_running_loop().time()
        return None

    def _gone(self, piece: Piece) -> None:
        """Evicted: whatever is being done with it is of no use."""
        self._verdict.forget(piece)
        task = self._sending.pop(piece, None)
        if task is not None:
            task.cancel()
