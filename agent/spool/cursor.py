"""
A cursor: how far one sink is in one lane, which batches are on their way, and what became of the rest.

    start ──ledger──▸ position ──plans──▸ planned_end ──not looked at yet──▸ head

Plans are contiguous. The settled ones at the front go into the ledger; settled neighbours of one fate
further back become one entry, so that a batch that waits for days costs no room. The whole of it lies
in one slot of a mark, so that every state on disk is a consistent one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.errors import StateError
from agent.spool.ledger import Ledger, Plan, State
from agent.spool.mark import Mark, room

if TYPE_CHECKING:
    from agent.spool.lane import Lane

# What the slot holds beside plans and names, at its longest; and a plan: ["0123456789abcdef",N,N,N],
_FIXED_BYTES = 768
_PLAN_BYTES = 46
# Entries kept free for stretches that are booked or evicted without asking for room.
_SPARE_PLANS = 4

Write = Callable[[Mark, Mapping[str, Any]], Awaitable[bool]]


@dataclass(slots=True, eq=False, kw_only=True)
class Cursor:
    """
    One sink's place in one lane. Changed on the event loop only; the keeper's thread writes it.

    `end` is set for a lane the sink no longer reads from: it drains up to there. `on_evict` is told
    that everything below an index goes, before the spool books it: batches in flight are to be
    cancelled then.
    """

    sink: str
    lane: Lane
    mark: Mark
    write: Write
    start: int
    position: int
    plans: list[Plan] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    end: int | None = None
    blocks: bool = False  # on_full = "block": nothing it has not settled may be evicted
    retired_ms: int | None = None  # since when no sink of that name is configured
    names: tuple[str, ...] = ()  # former names of the sink
    inherited_dead: int = 0  # dead letters booked by cursors of this sink that were closed
    absorbed: tuple[str, int] | None = None  # lane and start of the last cursor closed into this one
    on_evict: Callable[[int], None] | None = None
    changed: Callable[[], None] = lambda: None  # told of each change; the janitor's
    saved: int = 0  # the position as it is on disk
    _dirty: bool = True
    _next: asyncio.Future[bool] | None = None
    _saving: asyncio.Task[None] | None = None

    @property
    def planned_end(self) -> int:
        """The first index that no plan covers."""
        return self.plans[-1].end if self.plans else self.position

    @property
    def room(self) -> int:
        """How many more plans fit."""
        names = len(self.sink) + len(self.lane.name) * 2 + sum(len(name) + 3 for name in self.names)
        return (room() - _FIXED_BYTES - 4 * names) // _PLAN_BYTES - _SPARE_PLANS - len(self.plans)

    def plan(self, segment: int, first: int, count: int, crc: int) -> Plan:
        """A batch gets its name. `first` must be `planned_end`."""
        if first != self.planned_end or count < 1:
            raise ValueError(f"a plan of {count} from {first} on, where {self.planned_end} comes next")
        if self.room < 1:
            raise ValueError("no room for another plan")
        made = Plan(segment, first, count, crc, State.PLANNED)
        self.plans.append(made)
        self.touch()
        return made

    def book(self, count: int, state: State) -> None:
        """A stretch that no batch was made of: the next `count` records meet that fate."""
        if not state.settled:
            raise ValueError(f"{state.name} is no fate")
        if count > 0:
            self.plans.append(Plan(0, self.planned_end, count, 0, state))
            self._fold()

    def replace(self, plan: Plan, children: Sequence[tuple[int, int, int]]) -> list[Plan]:
        """A split: (first, count, crc) of each child, which together cover the parent. One write makes it durable."""
        place = self.plans.index(plan)
        made = [Plan(plan.segment, first, count, crc, State.PLANNED) for first, count, crc in children]
        edges = [plan.first, *(child.end for child in made)]
        if edges[-1] != plan.end or [child.first for child in made] != edges[:-1]:
            raise ValueError(f"the children do not cover {plan.first} to {plan.end}")
        if self.room < len(made) - 1:
            raise ValueError("no room for the children")
        self.plans[place : place + 1] = made
        self.touch()
        return made

    def settle(self, plan: Plan, state: State) -> bool:
        """A batch meets its fate; False where it had met one already (its records were evicted meanwhile)."""
        if not state.settled:
            raise ValueError(f"{state.name} is no fate")
        if plan.state.settled:
            return False
        plan.state = state
        self._fold()
        return True

    def give_up(self, end: int, state: State) -> int:
        """Everything open below `end` is going: tell delivery, book it, and say how many records that were."""
        if self.end is not None:
            end = min(end, self.end)
        if self.on_evict is not None and self.position < end:
            self.on_evict(end)
        count = 0
        for plan in self.plans:
            if plan.first < end and not plan.state.settled:
                if plan.state is State.MAYBE and state is State.EVICTED:
                    self.ledger.evicted_maybe_taken += plan.count
                plan.state = state
                count += plan.count
        rest = end - self.planned_end
        if rest > 0:
            self.plans.append(Plan(0, self.planned_end, rest, 0, state))
            count += rest
        self._fold()
        return count

    def touch(self) -> None:
        """It has changed: the next save writes it, or the timer does."""
        self._dirty = True
        self.changed()

    @property
    def dirty(self) -> bool:
        """Whether the file says something else."""
        return self._dirty

    @property
    def saving(self) -> bool:
        """Whether a write is under way."""
        return self._saving is not None

    @property
    def holds_from(self) -> int | None:
        """The first index that must stay on disk for it: where a restart would find it. None: it has drained."""
        # One that has no file yet would begin anew at what is left.
        durable = self.saved if self.mark.value is not None else self.position
        return None if self.end is not None and durable >= self.end else durable

    def begin_save(self) -> asyncio.Future[bool]:
        """Have it written; the future is done when it is, with False where the spool closed before."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            if self._saving is None:
                self._saving = asyncio.create_task(self._save(), name=f"save {self.sink}")
        return self._next

    async def save(self) -> None:
        """
        Durable (as far as the setting promises) when this returns. Several callers share one write.

        While the disk takes no writes this waits. Raises StateError when the spool closes before it succeeds.
        """
        if not await asyncio.shield(self.begin_save()):
            raise StateError(f"{self.mark.path}: not written, the spool closes")

    async def _save(self) -> None:
        while (waiting := self._next) is not None:
            self._next = None
            self._dirty = False
            position = self.position
            written = await self.write(self.mark, self.encoded())
            if written:
                self.saved = position
            else:
                self._dirty = True
            waiting.set_result(written)
        self._saving = None

    def _fold(self) -> None:
        self.touch()
        plans = self.plans
        done = 0
        for plan in plans:
            if not plan.state.settled:
                break
            self.ledger.add(plan.state, plan.count)
            self.position = plan.end
            done += 1
        del plans[:done]
        i = 1
        while i < len(plans):
            left, right = plans[i - 1], plans[i]
            if left.state.settled and left.state is right.state:
                plans[i - 1 : i + 1] = [Plan(0, left.first, left.count + right.count, 0, left.state)]
            else:
                i += 1

    def encoded(self) -> dict[str, Any]:
        """What the slot holds."""
        return {
            "sink": self.sink,
            "names": self.names,
            "lane": self.lane.name,
            "start": self.start,
            "position": self.position,
            "end": self.end,
            "retired_ms": self.retired_ms,
            "ledger": self.ledger.as_dict(),
            "inherited_dead": self.inherited_dead,
            "absorbed": self.absorbed,
            "plans": [
                (f"{plan.segment:016x}" if plan.segment else "", plan.count, plan.crc, plan.state)
                for plan in self.plans
            ],
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A cursor as its file has it."""

    sink: str
    lane: str
    names: tuple[str, ...]
    start: int
    position: int
    end: int | None
    retired_ms: int | None
    ledger: Ledger
    inherited_dead: int
    absorbed: tuple[str, int] | None
    plans: list[Plan]

    @property
    def planned_end(self) -> int:
        """The first index that no plan covers."""
        return self.plans[-1].end if self.plans else self.position


def kept(value: Mapping[str, Any]) -> Kept | None:
    """A cursor out of its slot; None where what it says cannot be."""
    try:
        ledger = Ledger(**{name: int(value["ledger"][name]) for name in Ledger.__slots__})
        plans: list[Plan] = []
        position = int(value["position"])
        place = position
        for segment, count, crc, state in value["plans"]:
            # A batch that was planned may have been sent in the moment before the end.
            state = State.MAYBE if state == State.PLANNED else State(state)
            plans.append(Plan(int(segment or "0", 16), place, int(count), int(crc), state))
            place += int(count)
        absorbed = value["absorbed"]
        found = Kept(
            str(value["sink"]),
            str(value["lane"]),
            tuple(map(str, value["names"])),
            int(value["start"]),
            position,
            None if value["end"] is None else int(value["end"]),
            None if value["retired_ms"] is None else int(value["retired_ms"]),
            ledger,
            int(value["inherited_dead"]),
            None if absorbed is None else (str(absorbed[0]), int(absorbed[1])),
            plans,
        )
    except (LookupError, TypeError, ValueError):
        return None
    return found if found.position - found.start == ledger.sum else None
