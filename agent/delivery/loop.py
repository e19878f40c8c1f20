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

import structlog

from agent.delivery.batches import Batches
from agent.delivery.episode import Episode, describe
from agent.delivery.form import BrokenSinkError
from agent.delivery.forming import Forming
from agent.delivery.hands import Hands
from agent.delivery.piece import Piece
from agent.delivery.pulse import Pulse
from agent.delivery.tally import Tally, end_of, queued
from agent.delivery.verdict import Verdict
from agent.delivery.window import Bodies
from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge
from agent.options import DeliveryOptions
from agent.ports import Parcel, Send, Sink
from agent.record import batch_id
from agent.spool import Cursor, Spool, State
from agent.stats import Part, Stats
from agent.timing import Backoff

log = structlog.get_logger()

LONGEST_SEND = 600.0  # a sink has its own timeout; this is for one whose timeout fails
TICK = 15.0  # an idle loop looks around this often
KEEP_BODY = 30.0  # a body that was of no use for so long is made again when it is
CLOSE_AGAIN = 5.0  # a former lane that could not be closed
NO_ROOM = 5.0  # a piece that cannot be split for want of plans is tried again after this


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
    ) -> None:
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
        self._batches = Batches(
            name,
            sink,
            self._cursors,
            limits=self._limits,
            max_age=spool.settings.max_age if options.max_age is None else options.max_age,
            spool=spool,
            tally=self._tally,
            bodies=bodies.share(),
            hands=self._hands,
            pulse=self._pulse,
        )
        self._forming = Forming(self._batches, self._limits, self._pulse)
        self._tally.show(self._cursors, self._batches.live)
        self._verdict = Verdict(in_flight=self._limits.in_flight, rng=rng)
        self._episode = Episode(name, part, self.queued)
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
            send = await self._open(stack)
            self._verdict = Verdict(in_flight=self._limits.in_flight, rng=self._rng)
            self._batches.gone = self._gone
            try:
                async with asyncio.TaskGroup() as group:
                    self._verdict.add(self._batches.resume())
                    group.create_task(self._forming.run(self._verdict, self._admit), name=f"{self.name}: form")
                    group.create_task(self._close_former(), name=f"{self.name}: former lanes")
                    await self._dispatch(group, send)
            finally:
                self._batches.leave()
                self._sending.clear()

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
            deciding = len(self._batches.live) > len(self._verdict.pieces)
            if self._verdict.probing or (planned and not deciding and self._verdict.stuck()):
                return False
            await self._pulse.wait()
        return True

    async def _open(self, stack: AsyncExitStack) -> Send:
        backoff, failures = Backoff(), 0
        while True:
            self._part.beat(within=LONGEST_SEND + TICK)
            try:
                async with asyncio.timeout(LONGEST_SEND) as limit:
                    send = await stack.enter_async_context(self._sink.open())
            except Exception as error:  # noqa: BLE001 - whatever keeps a sink from opening is waited out
                reason = describe(error) if isinstance(error, DeliveryError) else repr(error)
                if limit.expired():
                    reason = f"not open within {LONGEST_SEND:.0f} s"
                if self._part.become("down", f"cannot open: {reason}"):
                    log.warning("sink cannot open", sink=self.name, reason=reason, queued=self.queued())
                pause = backoff.delay(failures, self._rng)
                failures += 1
                self._part.beat(within=pause + TICK)
                await asyncio.sleep(pause)
            else:
                if failures:
                    self._part.become("starting")
                    log.info("sink opened", sink=self.name, tries=failures + 1)
                return send

    async def _close_former(self) -> None:
        for cursor in [each for each in self._cursors if each.end is not None]:
            while cursor.position < end_of(cursor):
                await self._pulse.wait()
            await self._close(cursor)
            self._cursors.remove(cursor)
            log.info("former lane drained", sink=self.name, lane=cursor.lane.name)

    async def _close(self, cursor: Cursor) -> None:
        said = ""
        while True:
            try:
                await self._spool.close_cursor(cursor)
            except Exception as error:  # noqa: BLE001 - said; nothing in it waits any more, so nobody is to suffer for it
                if said != (said := repr(error)):
                    log.warning("former lane cannot be closed", sink=self.name, lane=cursor.lane.name, reason=said)
                await asyncio.sleep(CLOSE_AGAIN)
            else:
                return

    # Sending.

    async def _dispatch(self, group: asyncio.TaskGroup, send: Send) -> None:
        self._group = group
        clock = asyncio.get_running_loop().time
        look_at = clock() + TICK
        while True:
            now = clock()
            if now >= look_at:
                look_at = now + TICK
                self._look_around(now)
            while (piece := self._verdict.next(now)) is not None:
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
        self._episode.remind(now)
        self._tally.follow_evictions(self._cursors)
        for piece in self._verdict.pool:
            if now - piece.used > KEEP_BODY:
                self._batches.drop_body(piece)

    async def _attempt(self, piece: Piece, send: Send) -> None:
        try:
            if piece.body is None and not await self._restore(piece):
                return
            before, body = piece.plan.state, piece.body or b""
            error = await self._send(piece, body, send)
            self._tally.requested(error, len(body), again=piece.tries > 1)
            self._beat(LONGEST_SEND + TICK)
            if piece.alive:
                if isinstance(error, DeliveryError) and not (isinstance(error, Retryable) and error.ambiguous):
                    piece.plan.state = before  # this time it was not taken, for certain
                await self._judge(piece, error)
        finally:
            self._verdict.returned(piece)
            self._sending.pop(piece, None)
            self._pulse.stir()

    async def _restore(self, piece: Piece) -> bool:
        """Whether the piece has its body again; if not, what has to happen instead is under way."""
        try:
            ready = await self._batches.restore(piece, lambda: self._is_alone(piece))
        except BrokenSinkError as broke:
            await self._judge(piece, broke.bug)
            return False
        if piece.body is not None:
            return True
        if ready is None:
            piece.not_before = asyncio.get_running_loop().time() + NO_ROOM
            return False
        self._verdict.forget(piece)
        self._admit(ready, parent=piece)
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

    # What follows from an outcome.

    async def _judge(self, piece: Piece, error: Exception | None) -> None:
        verdict, now = self._verdict, asyncio.get_running_loop().time()
        split = False
        match error:
            case None:
                self._accepted(piece, now)
                return
            case Throttled():
                verdict.throttled(piece, error, error.retry_after, now)
            case Retryable(operator=True) | AuthExpired():
                verdict.needs_operator(piece, error, now)
            case Retryable(ambiguous=True):
                split = verdict.ambiguous(piece, error, now)
            case TooLarge():
                if piece.count > 1 and self._batches.window.too_large(piece.size):
                    log.info("batches become smaller", sink=self.name, bytes=self._batches.window.size)
                split = verdict.too_large(piece, error, now)
            case Rejected():
                split = verdict.refused(piece, error, now)
            case DeliveryError():
                verdict.unreachable(piece, error, now)
            case _:
                split = verdict.ambiguous(piece, Retryable(f"bug in the sink: {error!r}", ambiguous=True), now)
        self._episode.failed(verdict, error, now)
        if split:
            await self._split(piece, error)

    async def _split(self, piece: Piece, error: Exception) -> None:
        verdict = self._verdict
        # Its place in flight stays taken until its parts can go: they come before other batches.
        verdict.take(piece)
        self._sending.pop(piece, None)
        named = error.only if isinstance(error, Rejected) else None
        parts = await self._batches.split(piece, named, sparing=verdict.refusing)
        if parts is None:
            # The plans ahead of it free the room that it waits for.
            piece.not_before = asyncio.get_running_loop().time() + NO_ROOM
            return
        verdict.forget(piece)
        self._admit(parts, parent=piece, refused=not isinstance(error, TooLarge))

    def _accepted(self, piece: Piece, now: float) -> None:
        self._batches.settle(piece, State.DELIVERED)
        self._batches.window.accepted()
        convicted = self._verdict.accepted(piece, now)
        self._episode.accepted(now)
        for each in convicted:
            self._bury(each)

    def _admit(self, pieces: list[Piece], parent: Piece | None = None, *, refused: bool = False) -> None:
        """New pieces go their way: to be sent, or to be buried where the sink can never send them."""
        for piece in pieces:
            if piece.unfit is not None:
                self._bury(piece)
                continue
            if parent is not None:
                self._verdict.inherit(parent, piece, refused=refused)
            self._verdict.add([piece])
        self._pulse.stir()

    def _bury(self, piece: Piece) -> None:
        reason = next(iter(piece.unfit.values())) if piece.unfit else piece.error and describe(piece.error)
        self._episode.buried(piece.count, reason or "refused", asyncio.get_running_loop().time())
        self._group.create_task(self._batches.bury(piece), name=f"{self.name}: bury {piece.first}")

    def _gone(self, piece: Piece) -> None:
        """Evicted: whatever is being done with it is of no use."""
        self._verdict.forget(piece)
        task = self._sending.pop(piece, None)
        if task is not None:
            task.cancel()
