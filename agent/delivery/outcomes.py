"""What follows from the outcome of an attempt: the verdict is told, and what it says is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

import structlog

from agent.delivery.batches import Batches
from agent.delivery.episode import Episode, describe
from agent.delivery.gaps import Gaps
from agent.delivery.piece import Piece
from agent.delivery.pieces import Pieces
from agent.delivery.pulse import Pulse
from agent.delivery.verdict import Verdict
from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, Throttled, TooLarge, Unfit, kind_of_bug
from agent.spool import State

log = structlog.get_logger()

NO_ROOM = 5.0  # a piece that cannot be taken apart for want of plans is tried again after this


class Outcomes:
    """Of one sink, from when it opens until it closes."""

    def __init__(
        self,
        name: str,
        *,
        verdict: Verdict,
        pieces: Pieces,
        batches: Batches,
        episode: Episode,
        gaps: Gaps,
        pulse: Pulse,
        group: asyncio.TaskGroup,
        sending: dict[Piece, asyncio.Task[None]],
    ) -> None:
        self._name = name
        self._verdict = verdict
        self._pieces = pieces
        self._batches = batches
        self._episode = episode
        self._gaps = gaps
        self._pulse = pulse
        self._group = group
        self._sending = sending

    async def judge(self, piece: Piece, error: Exception | None) -> None:
        """An attempt has ended so."""
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
                    log.info("batches become smaller", sink=self._name, bytes=self._batches.window.size)
                split = verdict.too_large(piece, error, now)
            case Rejected():
                split = verdict.refused(piece, error, now)
            case Unfit() if reasons := {at: why for at, why in error.reasons.items() if 0 <= at < piece.count}:
                await self._unfit(piece, reasons)
                return
            case DeliveryError():
                verdict.unreachable(piece, error, now)
            case _:
                split = verdict.ambiguous(
                    piece, Retryable(f"bug in the sink: {kind_of_bug(error)}", ambiguous=True), now
                )
        self._episode.failed(verdict, error, now)
        if piece.convicted:
            self._bury(piece)
        elif split:
            named = error.only if isinstance(error, Rejected) else None
            parting = self._batches.split(piece, named, sparing=verdict.refusing)
            await self._part(piece, parting, refused=not isinstance(error, TooLarge))

    def admit(self, pieces: list[Piece], parent: Piece | None = None, *, refused: bool = False) -> None:
        """New pieces go their way: to be sent, or to be buried where the sink can never send them."""
        for piece in pieces:
            if piece.unfit is not None:
                self._bury(piece)
                continue
            if parent is not None:
                self._verdict.inherit(parent, piece, refused=refused)
            self._verdict.add([piece])
        self._pulse.stir()

    def is_expired(self, piece: Piece) -> bool:
        """Whether the piece has become too old to be sent; if so, it is settled now."""
        if not self._pieces.is_too_old(piece):
            return False
        self._verdict.forget(piece)
        self._pieces.expire(piece)
        return True

    def expire_pool(self) -> None:
        """Settle whatever has become too old, though its turn has not come."""
        for piece in list(self._verdict.pool):
            self.is_expired(piece)

    def put_off(self, piece: Piece) -> None:
        """It needs more plans than there is room for: the plans ahead of it make that room."""
        piece.not_before = asyncio.get_running_loop().time() + NO_ROOM

    def _accepted(self, piece: Piece, now: float) -> None:
        self._pieces.settle(piece, State.DELIVERED)
        self._batches.window.accepted()
        was_probing = self._verdict.probing
        convicted = self._verdict.accepted(piece, now)
        if was_probing:
            self.expire_pool()  # what grew too old during the outage is of that gap
        self._episode.accepted(now)
        self._gaps.accepted(now)
        for each in convicted:
            self._bury(each)

    async def _unfit(self, piece: Piece, reasons: Mapping[int, str]) -> None:
        """The sink can never send some of it: buried without contrast. It says nothing about the rest."""
        if len(reasons) == piece.count:  # as always where a batch is one record: no plan has to be changed
            piece.unfit = {piece.first + at: why for at, why in reasons.items()}
            self._verdict.forget(piece)
            self._bury(piece)
        else:
            await self._part(piece, self._batches.part_unfit(piece, reasons), refused=False)

    async def _part(self, piece: Piece, parting: Awaitable[list[Piece] | None], *, refused: bool) -> None:
        # Its place in flight stays taken until its parts can go: they come before other batches.
        self._verdict.take(piece)
        self._sending.pop(piece, None)
        parts = await parting
        if parts is None:
            self.put_off(piece)
            return
        self._verdict.forget(piece)
        self.admit(parts, parent=piece, refused=refused)

    def _bury(self, piece: Piece) -> None:
        reason = next(iter(piece.unfit.values())) if piece.unfit else piece.error and describe(piece.error)
        self._episode.buried(piece.count, reason or "refused", asyncio.get_running_loop().time())
        self._group.create_task(self._batches.bury(piece), name=f"{self._name}: bury {piece.first}")
