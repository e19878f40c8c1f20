"""
Sends one annotation: dated by the far side's clock, its values written as that server needs them, its answer judged.
"""

from __future__ import annotations

from random import Random

from agent.errors import DeliveryError, Rejected, Retryable, Throttled, Unfit
from agent.http import Answer
from agent.ports import Parcel
from agent.sinks.rackspace.answers import complaints, verdict
from agent.sinks.rackspace.escaping import Mode, cut, needs_escaping, reaches_out, written
from agent.sinks.rackspace.options import RackspaceOptions
from agent.sinks.rackspace.probing import Escapes
from agent.sinks.rackspace.service import Service
from agent.sinks.rackspace.texts import Annotation, decode, time_text

# Blueflood's window, by its own clock (BEFORE_ and AFTER_CURRENT_COLLECTIONTIME_MS), less a minute on each side for
# the way there and for clocks.
OLDEST_MS = 3 * 86_400_000 - 60_000
NEWEST_MS = 600_000 - 60_000
# How far a record's time may lie from its batch's and still be the agent's stamp: a device's is not ours to correct.
STAMP_SLACK_MS = 60_000
# The limit is the tenant's: whoever was told to wait comes back somewhere within half as long again.
SPREAD = 0.5
LEAST_SPREAD = 5.0


class Sender:
    """Sends the sink's parcels. May be called several times at once."""

    def __init__(self, options: RackspaceOptions, service: Service, rng: Random) -> None:
        self._service = service
        self._rng = rng
        self._restamps = options.outside_window == "restamp"
        self._escapes = Escapes(options.escape, service)

    async def send(self, parcel: Parcel) -> None:
        """Return once the far side has taken it. Raises a DeliveryError; Unfit for what it can never take."""
        note = decode(parcel.body)
        self._dated(note)  # what is too late need not wait for its turn
        needs_care = any(map(needs_escaping, (note.what, note.tags, note.data)))
        mode: Mode = await self._escapes.mode() if needs_care else "none"
        for name in ("what", "tags", "data"):
            if mode == "none" and reaches_out(getattr(note, name)):
                raise Unfit({0: f"{name} would be taken for a part of its document by a server that does not escape"})
        await self._service.turn()
        when, data = self._dated(note)
        answer = await self._service.post(
            {
                "what": written(note.what, mode),
                "when": when,
                "tags": written(note.tags, mode),
                "data": written(data, mode),
            }
        )
        if refused := verdict(answer):
            raise self._judged(refused, answer, needs_care=needs_care)

    def _dated(self, note: Annotation) -> tuple[int, str]:
        """`when` and data as they would go now. Raises Unfit where the far side would refuse the time."""
        when, now = note.ts, self._service.clock.now_ms()
        if note.is_own or abs(note.ts - note.newest) <= STAMP_SLACK_MS:
            when += round(self._service.clock.offset * 1000)
        if now - OLDEST_MS <= when <= now + NEWEST_MS:
            return when, note.data
        if self._restamps:
            return now, cut(f"time={time_text(note.ts)}, {note.data}")
        if when < now:
            raise Unfit({0: f"{(now - when) / 86_400_000:.1f} days old; the service takes none older than 3 days"})
        raise Unfit({0: f"{(when - now) / 60_000:.0f} minutes ahead; the service takes none more than 10 ahead"})

    def _judged(self, refused: DeliveryError, answer: Answer, *, needs_care: bool) -> DeliveryError:
        match refused:
            case Throttled(retry_after=wait):
                refused.retry_after = wait + self._rng.uniform(0.0, max(wait * SPREAD, LEAST_SPREAD))
            case Rejected(status=400) if any(each.source == "when" for each in complaints(answer.body)):
                if self._service.is_of_another_time(answer):
                    return Retryable(f"{refused.reason}; from now on dated by the far side's clock", status=400)
            case Rejected(status=500) | Retryable(status=500, ambiguous=True) if needs_care:
                self._escapes.doubt()
        return refused
