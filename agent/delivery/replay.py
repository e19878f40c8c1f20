"""
Dead letters, given back to the sink that refused them, and to it alone; or dropped for good.

A letter is taken out once its record was accepted, and not before: whatever ends the work in between,
the letter is there and goes again under the same batch id. What is refused again stays. Where a far side
cannot be asked (down, busy, the credentials refused) its other letters are left for another time.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from agent.delivery.episode import describe
from agent.delivery.form import BrokenSinkError, draft
from agent.delivery.loop import LONGEST_SEND
from agent.errors import AuthExpired, DeliveryError, Rejected, Retryable, TooLarge, Unfit
from agent.ports import Parcel, Send, Sink
from agent.record import Run, batch_id
from agent.spool.letter_files import Standing
from agent.spool.lines import Letter, identity, sink_of
from agent.spool.shelf import Shelf

log = structlog.get_logger()

NOT_A_SINK: Final = "intake"  # who refused what never became a record
PROGRESS_SECONDS = 0.5
SAID_ONE_BY_ONE = 100  # letters that stay, with their reasons; beyond that they are counted

# Raises Unfit, a DeliveryError or BrokenSinkError where the record is not taken.
Resend = Callable[[Run], Awaitable[None]]
Tell = Callable[[Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters are meant."""

    sink: str | None = None  # of any
    ids: frozenset[str] = frozenset()  # all

    def has(self, letter: Letter) -> bool:
        """Whether this is one of them."""
        return (self.sink is None or sink_of(letter) == self.sink) and (not self.ids or identity(letter) in self.ids)


@dataclass(slots=True)
class Outcome:
    """What became of the letters, by sink."""

    replayed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # again; they stay
    impossible: Counter[str] = field(default_factory=Counter)  # nobody can be asked; they stay
    left: Counter[str] = field(default_factory=Counter)  # not asked, as their sink was stopped at; they stay
    stopped: dict[str, str] = field(default_factory=dict)  # why
    locked_out: bool = False  # of those that were stopped at, one refuses the credentials

    @property
    def done(self) -> int:
        """How many letters were looked at."""
        counts = (self.replayed, self.dropped, self.refused, self.impossible, self.left)
        return sum(each.total() for each in counts)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        names = ("replayed", "dropped", "refused", "impossible", "left", "stopped")
        return {**{name: dict(getattr(self, name)) for name in names}, "locked_out": self.locked_out}


async def replay(shelf: Shelf, wanted: Wanted, ways: Mapping[str, Resend], tell: Tell, out: Outcome) -> None:
    """
    Give the letters that are wanted back to their sinks; `ways`: how, by a sink's name or former name.

    Counts in `out`, tells how it gets on, and of each letter that stays why. Raises OSError where the files
    cannot be written. Cancelled, it leaves the rest as it is.
    """
    course = _Course(tell, out)
    async for chunk in shelf.chunks():
        for one in chunk:
            if wanted.has(one.letter) and await course.is_taken(one.letter, ways):
                await shelf.take_out([one], "replayed")
                out.replayed[sink_of(one.letter)] += 1
        await course.progress()


async def drop(shelf: Shelf, wanted: Wanted, tell: Tell, out: Outcome) -> None:
    """Take the letters that are wanted out for good. Raises OSError where the files cannot be written."""
    course = _Course(tell, out)
    async for chunk in shelf.chunks():
        some: list[Standing] = [one for one in chunk if wanted.has(one.letter)]
        if some:
            await shelf.take_out(some, "dropped")
            out.dropped.update(sink_of(one.letter) for one in some)
        await course.progress()


async def resend(sink: Sink, send: Send, run: Run) -> None:
    """Send one record through a sink that no delivery runs for. Raises Unfit, a DeliveryError, or BrokenSinkError."""
    [made] = draft(sink, run, math.inf)
    if made.unfit:
        raise Unfit({0: next(iter(made.unfit.values()))})
    if made.bug is not None:
        raise BrokenSinkError(made.bug)
    parcel = Parcel(batch_id(made.segment, made.first, made.count, made.crc), made.body or b"", made.count)
    try:
        async with asyncio.timeout(LONGEST_SEND):
            await send(parcel)
    except (Unfit, DeliveryError):
        raise
    except TimeoutError as error:
        raise Retryable(f"no outcome within {LONGEST_SEND:.0f} s", ambiguous=True) from error
    except Exception as bug:
        raise BrokenSinkError(bug) from bug


def run_of(letter: Letter) -> Run:
    """The record of a letter, as it was read from the spool. Raises ValueError with the reason where it has none."""
    if sink_of(letter) == NOT_A_SINK or letter.get("id") is None:
        raise ValueError(f"it never became a record ({letter.get('reason')})")
    if letter.get("encoding") != "json" or not isinstance(payload := letter.get("payload"), str):
        raise ValueError("its record is damaged")
    segment, _, index = str(letter["id"]).rpartition("-")
    try:
        body, names = payload.encode(), (int(segment, 16), int(index))
    except ValueError:
        raise ValueError(f"{letter['id']} names no record") from None
    # When the record was taken in is known no more; when it was refused stays the same for every try.
    stamp = letter["ts"] if isinstance(letter.get("ts"), int) else 0
    return Run(*names, body, array("I", [len(body)]), stamp, stamp, ageless=True)


@dataclass(slots=True)
class _Course:
    """One round through the letters."""

    tell: Tell
    out: Outcome
    _said: int = 0
    _told_at: float = 0.0

    async def is_taken(self, letter: Letter, ways: Mapping[str, Resend]) -> bool:
        """Whether its sink took the record."""
        await self.progress()
        sink = sink_of(letter)
        if sink in self.out.stopped:
            self.out.left[sink] += 1
            return False
        try:
            run = run_of(letter)
        except ValueError as why:
            await self._stays(letter, "impossible", f"{why}; see telemetry-agent dead-letters show {identity(letter)}")
            return False
        if sink not in ways:
            await self._stays(letter, "impossible", f"there is no sink {sink} (a new one takes it up by `was`)")
            return False
        try:
            await ways[sink](run)
        except (Rejected, TooLarge) as refusal:
            await self._stays(letter, "refused", describe(refusal))
        except Unfit as unfit:
            await self._stays(letter, "refused", next(iter(unfit.reasons.values())))
        except DeliveryError as trouble:
            self.out.stopped[sink] = describe(trouble)
            self.out.left[sink] += 1
            self.out.locked_out = self.out.locked_out or isinstance(trouble, AuthExpired)
        except BrokenSinkError as broken:
            # Over this record as likely as not: said with its trace, and the others have their turn.
            log.exception("a sink failed over a dead letter", sink=sink, id=identity(letter))
            await self._stays(letter, "refused", f"bug in the sink: {broken}")
        else:
            return True
        return False

    async def _stays(self, letter: Letter, how: str, reason: str) -> None:
        getattr(self.out, how)[sink_of(letter)] += 1
        self._said += 1
        if self._said <= SAID_ONE_BY_ONE:
            await self.tell({"stays": identity(letter), "sink": sink_of(letter), "how": how, "reason": reason})

    async def progress(self) -> None:
        """Tell how far it is, now and then."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= PROGRESS_SECONDS:
            self._told_at = now
            counts = {name: getattr(self.out, name).total() for name in ("replayed", "dropped", "refused")}
            await self.tell({"progress": self.out.done, **counts})
