"""A piece: a planned batch, or a part of one after a split, and what has happened to it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.delivery.form import Draft
from agent.errors import DeliveryError
from agent.spool import Cursor, Plan, State


@dataclass(slots=True, eq=False)
class Piece:
    """
    One plan of a cursor on its way to the far side.

    Pieces mirror the cursor's unsettled plans one to one. Every moment is an order number that the
    verdict hands out (`sent`, `failed`), so that "accepted after that failure" is a comparison; only
    `not_before` is on the loop's clock.
    """

    cursor: Cursor
    plan: Plan
    rank: int  # which of the sink's cursors: former lanes come before its own
    # When its oldest and its newest record were taken in, once known, in milliseconds on the lane's steady
    # clock; None where no clock can tell.
    oldest: int | None = None
    newest: int | None = None
    distance: int = 0  # of the wall clock from that one, when the body was made
    size: int = 0  # bytes of its data, once known
    body: bytes | None = None  # packed; None: to be read and packed again
    used: float = 0.0  # when the body was last of use
    unfit: Mapping[int, str] | None = None  # never to be sent: index in the lane -> reason
    isolating: bool = False  # came of a refused batch
    accused: bool = False  # refused alone, no contrast yet
    contrasted: bool = False  # refused alone, and another was accepted since: the next refusal convicts
    convicted: bool = False
    tries: int = 0
    sent: int = 0
    failed: int = 0
    strikes: int = 0  # ambiguous failures with successes of others between
    failures: int = 0  # ambiguous failures
    rebuffs: int = 0  # refusals while everything was refused
    not_before: float = 0.0
    error: DeliveryError | None = None  # the last answer
    alive: bool = True  # its plan is still the sink's to settle

    def learn(self, made_of: Draft) -> None:
        """Take over what was found when its records were read."""
        self.size = made_of.size
        self.oldest = None if made_of.ageless else made_of.oldest
        self.newest = None if made_of.ageless else made_of.newest
        self.distance = made_of.distance

    def has_other_times(self) -> bool:
        """Whether its body would now be another one, as the clock was set. What may be taken has to stay as it is."""
        return self.plan.state is State.PLANNED and self.distance != self.cursor.lane.distance()

    @property
    def first(self) -> int:
        """The index of its first record in the lane."""
        return self.plan.first

    @property
    def count(self) -> int:
        """How many records it holds."""
        return self.plan.count

    @property
    def key(self) -> tuple[int, int]:
        """Its place in the order of the sink's records."""
        return self.rank, self.plan.first
