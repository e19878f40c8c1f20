"""
Whose fault is it? The rules of blame, as a machine without a clock, a socket or a file.

The loop asks `next` which piece may go, sends it, and tells the outcome; the machine says what follows.

    accepted ────────────▸ settled; whoever was accused before it was sent is sent once more
    refused, many ───────▸ split: halves, left first, depth first, no pause between
    refused, alone ──────▸ accused: kept until another is accepted or nobody is (refusing)
    refused, once more ──▸ convicted
    ambiguous ───────────▸ suspect: parked while others go; the fifth failure with successes of others
                           between counts as a refusal. If others fail too, the sink is down
    nothing taken ───────▸ down: one probe at a time, by backoff, for ever

Refusing. Three refusals of records alone without one acceptance between them, and there is no
contrast: the fault may be ours (a wrong key, a broken envelope). Accusations are void, nothing is
dead-lettered, and one piece at a time is tried by backoff, a different one each time, until one is
accepted. Then everything is tried again. If that ends in refusing once more, the patience doubles:
with a trickle of good records between many bad ones, three would never be enough to convict any.
A piece refused a second time meanwhile is halved, so that among many bad records the good are found.

One refusal may have been a moment in which everything was refused. That it comes again after others were accepted
tells the record from the moment.

Contrast must be sent after the failure, not only answered after it: with several batches in flight
an answer can be older than the trouble.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal

from agent.delivery.piece import Piece
from agent.errors import DeliveryError
from agent.timing import Backoff

PATIENCE = 3  # refusals of single records without an acceptance before the sink counts as refusing
STRIKES = 5  # ambiguous failures with successes of others between before a piece is blamed
LONGEST_PAUSE = 3600.0  # the most that a far side may ask for
UNREACHABLE_CAP = 30.0  # the longest pause between two tries to connect; for the other troubles it is a minute
# Where what is at hand may be at fault, new data need not wait out the whole backoff: a lone bad
# record in a thin stream would otherwise hold the next good one back for a minute.
NEW_DATA = 5.0

Standing = Literal["up", "down", "refusing"]


@dataclass(slots=True)
class Outage:
    """The far side takes nothing: why, since which attempt, and how many probes have failed since."""

    error: BaseException
    since: int
    operator: bool = False
    throttled: bool = False
    ambiguous: bool = False
    misses: int = 0
    pause: float = 0.0  # seconds that it has asked for


class Verdict:
    """The pieces of one sink and what may be done with them. Not thread-safe; the loop's alone."""

    def __init__(self, *, in_flight: int, rng: Random, first: float = 1.0, cap: float = 60.0) -> None:
        self.in_flight = in_flight
        self.pool: set[Piece] = set()  # not in flight, not settled
        self.flying: set[Piece] = set()
        self.outage: Outage | None = None
        self.refusing = False
        self._rng = rng
        self._backoff = Backoff(first=first, cap=cap)
        # A refused connection costs the far side next to nothing, and a short outage should not last twice as long.
        self._unreachable = Backoff(first=first, cap=min(cap, UNREACHABLE_CAP))
        # A person has to act: the first tries come quickly (the mistake may just have been mended), then seldom.
        self._slow = Backoff(first=first, cap=cap, factor=5.0)
        self._order = 0
        self._accepted_sent = 0  # the latest send of an accepted piece
        # Since the last acceptance:
        self._refused = 0
        self._refused_alone = 0
        self._ambiguous: list[Piece] = []
        self._heard = 0  # at how many refusals alone a witness was heard
        self._patience = PATIENCE
        self._probes = 0  # failed ones, while refusing
        self.probe_at = 0.0
        self._last_probe = -math.inf

    # What there is.

    @property
    def standing(self) -> Standing:
        """How the far side fares, as far as can be said."""
        if self.outage is not None:
            return "down"
        return "refusing" if self.refusing else "up"

    @property
    def probing(self) -> bool:
        """One piece at a time, by backoff."""
        return self.refusing or self.outage is not None

    @property
    def pieces(self) -> set[Piece]:
        """Every piece not settled."""
        return self.pool | self.flying

    def pause(self, now: float) -> float:
        """Seconds for which the far side has asked to be left alone; 0: it has not."""
        return max(0.0, self.probe_at - now) if self.outage is not None and self.outage.throttled else 0.0

    def untried(self) -> int:
        """How many pieces of new data wait for their first try."""
        return sum(not piece.sent and not piece.isolating for piece in self.pool)

    def stuck(self) -> bool:
        """Nothing can be brought to an end now: what is left is accused or parked."""
        return bool(self.pool) and not self.flying and all(piece.accused or piece.strikes for piece in self.pool)

    def add(self, pieces: Iterable[Piece]) -> None:
        """Pieces to be sent, in their turn."""
        self.pool.update(pieces)

    def forget(self, piece: Piece) -> None:
        """The piece is settled, replaced or evicted."""
        self.pool.discard(piece)
        self.flying.discard(piece)

    # Which piece goes next.

    def next(self, now: float) -> Piece | None:
        """The piece to send now, marked as in flight; None: nothing may go (see `due`)."""
        piece = self._probe(now) if self.probing else self._choose(now)
        if piece is not None:
            self._order += 1
            piece.sent = self._order
            self.pool.remove(piece)
            self.flying.add(piece)
        return piece

    def due(self, now: float) -> float:
        """Seconds until `next` may give another answer by itself; infinite: only an outcome or new data can."""
        if len(self.flying) >= self.in_flight or (self.probing and self.flying):
            return math.inf
        if self.probing:
            moments = [self._probe_moment(piece) for piece in self.pool]
        else:
            moments = [piece.not_before for piece in self.pool if piece.not_before > now]
        return max(0.0, min(moments, default=math.inf) - now)

    def _probe(self, now: float) -> Piece | None:
        if self.flying:
            return None
        ready = [piece for piece in self.pool if self._probe_moment(piece) <= now]
        # The one tried longest ago, the never tried first: a different piece each time.
        piece = min(ready, key=lambda each: (each.sent, each.key), default=None)
        if piece is not None:
            self._last_probe = now
        return piece

    def _probe_moment(self, piece: Piece) -> float:
        if not piece.sent and not piece.isolating and (self.outage is None or self.outage.ambiguous):
            return min(self.probe_at, self._last_probe + NEW_DATA)
        return self.probe_at

    def _choose(self, now: float) -> Piece | None:
        # Where nothing was accepted since two refusals, one at a time: it may be everything.
        if len(self.flying) >= (self.in_flight if self._refused < 2 else 1):
            return None
        ready = sorted((piece for piece in self.pool if piece.not_before <= now), key=lambda each: each.key)
        fresh = [piece for piece in ready if not piece.isolating]
        isolating = [piece for piece in ready if piece.isolating]
        if not isolating or any(piece.isolating for piece in self.flying):
            # Isolation is one strand: what is in flight beside it is new data.
            return fresh[0] if fresh else None
        if self._refused_alone >= PATIENCE - 1 and self._refused_alone > self._heard:
            # One more refusal alone may end in refusing. Before it, hear a witness from far away.
            self._heard = self._refused_alone
            return (fresh or isolating)[-1]
        return isolating[0]

    # What came of it.

    def accepted(self, piece: Piece, now: float) -> list[Piece]:
        """The far side took it. Returns those convicted by it: their dead letters are to be written."""
        self.forget(piece)
        self._accepted_sent = max(self._accepted_sent, piece.sent)
        convicted = []
        accused = (each for each in self.pool if each.accused and each.failed < piece.sent)
        for each in sorted(accused, key=lambda each: each.key):
            if each.strikes >= STRIKES:  # there was contrast after every one of them
                self.pool.remove(each)
                convicted.append(each)
            else:
                each.accused, each.contrasted, each.not_before = False, True, 0.0
        if self.refusing:
            self._patience *= 2
        if self.probing:
            # What failed meanwhile proves nothing against it: all of it is tried again.
            for each in self.pool:
                each.not_before = 0.0
        self.refusing = False
        self._answered(piece)
        self._refused = self._probes = self._heard = 0
        self._ambiguous.clear()
        self._refused_alone = sum(each.accused for each in self.pool)
        if not any(each.isolating for each in self.pieces):
            self._patience = PATIENCE
        return convicted

    def refused(self, piece: Piece, error: DeliveryError, now: float) -> bool:
        """Its content was refused. True: split it (replace it by its parts and `add` them); or it is `convicted`."""
        self._land(piece, error)
        self._answered(piece)
        if piece.contrasted:
            self.pool.remove(piece)
            piece.convicted = True
            return False
        self._refused += 1
        if self.refusing:
            self._probes += 1
            self.probe_at = now + self._backoff.delay(self._probes, self._rng)
            piece.rebuffs += 1
            return piece.rebuffs > 1 and piece.count > 1
        return self._blame(piece, now)

    def too_large(self, piece: Piece, error: DeliveryError, now: float) -> bool:
        """It is too large for the far side. True: split it. Alone it is refused like any other."""
        if piece.count == 1:
            return self.refused(piece, error, now)
        self._land(piece, error)
        self._answered(piece)
        if self.outage is None:
            self.probe_at = now
        return True

    def ambiguous(self, piece: Piece, error: DeliveryError, now: float) -> bool:
        """It may be this piece, it may be the far side. True: split it."""
        contrast = not piece.strikes or self._accepted_sent > piece.failed
        self._land(piece, error)
        piece.failures += 1
        if self.probing:
            self._down(piece, error, now, self._backoff, ambiguous=True)
            return False
        piece.strikes += contrast
        if piece.strikes >= STRIKES:
            return self._blame(piece, now)
        piece.not_before = now + self._backoff.delay(piece.failures - 1, self._rng)
        self._ambiguous.append(piece)
        enough = max(2, self.in_flight)
        # Others fail too; or this one again and again, and there are no others to tell.
        if len(set(self._ambiguous)) >= enough or len(self._ambiguous) >= 2 * enough:
            self._down(piece, error, now, self._backoff, ambiguous=True)
        return False

    def unreachable(self, piece: Piece, error: BaseException, now: float) -> None:
        """Nothing was taken and it is not this piece's fault."""
        self._land(piece, error if isinstance(error, DeliveryError) else None)
        answered = getattr(error, "status", None) is not None
        self._down(piece, error, now, self._backoff if answered else self._unreachable)

    def needs_operator(self, piece: Piece, error: DeliveryError, now: float) -> None:
        """Only a person can mend it."""
        self._land(piece, error)
        self._down(piece, error, now, self._slow, operator=True)

    def throttled(self, piece: Piece, error: DeliveryError, wait: float, now: float) -> None:
        """The far side asks for a pause of `wait` seconds; absurd ones count as none or as an hour."""
        self._land(piece, error)
        self._down(piece, error, now, self._backoff, throttled=True)
        if self.outage is not None:
            self.outage.throttled = True  # though it may have begun by another error of the same moment
        if not math.isnan(wait) and wait > 0:
            # It said the same to all, and whoever comes to the second comes with all others: so up to as long again.
            wait = min(wait, LONGEST_PAUSE)
            late = self._rng.uniform(0.0, min(wait, self._backoff.cap))
            self.probe_at = max(self.probe_at, now + wait) + late
            if self.outage is not None:
                self.outage.pause = wait

    def take(self, piece: Piece) -> None:
        """It is being split: until then it counts as in flight."""
        self.pool.discard(piece)
        self.flying.add(piece)

    def returned(self, piece: Piece) -> None:
        """It was not sent after all; as if `next` had not named it."""
        if piece in self.flying:
            self.flying.discard(piece)
            self.pool.add(piece)

    def inherit(self, parent: Piece, child: Piece, *, refused: bool) -> None:
        """
        What a part takes over from the whole.

        The blame of five failures is inherited for splitting, never for accusing: a part of many
        splits at its next failure with contrast, a single record gets its own five.
        """
        child.isolating = refused or parent.isolating
        child.failed = parent.failed
        if parent.strikes >= STRIKES - 1 and child.count > 1:
            child.strikes = STRIKES - 1

    def _answered(self, piece: Piece) -> None:
        """Whoever answers is not down. An answer to what was under way before a pause was asked for ends no pause."""
        if self.outage is not None and not (self.outage.throttled and piece.sent <= self.outage.since):
            self.outage = None

    def _land(self, piece: Piece, error: DeliveryError | None) -> None:
        self.flying.discard(piece)
        self.pool.add(piece)
        self._order += 1
        piece.failed = self._order
        if error is not None:
            piece.error = error

    def _blame(self, piece: Piece, now: float) -> bool:
        piece.isolating = True
        if piece.count > 1:
            return True
        piece.accused = True
        # Tried again now and then: without new data there is no other way to learn that it is taken after all.
        piece.not_before = now + self._rng.uniform(self._backoff.cap / 2, self._backoff.cap)
        self._refused_alone += 1
        if self._refused_alone >= self._patience:
            self.refusing = True
            for each in self.pool:
                each.accused = each.contrasted = False
                each.not_before, each.rebuffs = 0.0, 0
            self._probes = 0
            self._last_probe = now
            self.probe_at = now + self._backoff.delay(0, self._rng)
        return False

    def _down(
        self,
        piece: Piece,
        error: BaseException,
        now: float,
        backoff: Backoff,
        *,
        operator: bool = False,
        throttled: bool = False,
        ambiguous: bool = False,
    ) -> None:
        misses = 0
        if self.outage is not None:
            if piece.sent <= self.outage.since:
                return  # it was under way before the outage was known, and proves nothing more
            misses = self.outage.misses + 1
        since = self._order if self.outage is None else self.outage.since
        self.outage = Outage(error, since, operator, throttled, ambiguous, misses)
        self._last_probe = now
        self.probe_at = now + backoff.delay(misses, self._rng)
