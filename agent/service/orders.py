"""What a running agent does when it is told to over its control socket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from agent.delivery import replay
from agent.delivery.replay import Outcome, Resend, Wanted
from agent.errors import Retryable
from agent.record import Run
from agent.service.exits import Exit
from agent.status.control import Order, Refused, Say
from agent.supervisor import Running

log = structlog.get_logger()

CANNOT_OPEN = "cannot open: "  # how a sink's part says that it is not open


@dataclass(slots=True, eq=False)
class Orders:
    """The orders, given to the parts of one running agent."""

    running: Running
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def table(self) -> Mapping[str, Order]:
        """Name -> what is done."""
        return {"replay": self.replay, "drop": self.drop}

    async def replay(self, request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        """Give dead letters back to the sinks that refused them: `{"do": "replay", "sink": "lake", "ids": []}`."""
        return (await self._over_letters("replay", request, say)).plain()

    async def drop(self, request: Mapping[str, Any], say: Say) -> Mapping[str, Any]:
        """Drop dead letters for good: `{"do": "drop", "sink": null, "ids": ["..."]}`."""
        return (await self._over_letters("drop", request, say)).plain()

    async def _over_letters(self, what: str, request: Mapping[str, Any], say: Say) -> Outcome:
        wanted = _wanted(request)
        if self._busy.locked():
            raise Refused("another replay or drop is under way; try again when it is done", Exit.TEMPORARY)
        out = Outcome()
        async with self._busy:
            try:
                shelf = await self.running.spool.dead_letters()
                if what == "drop":
                    await replay.drop(shelf, wanted, say, out)
                else:
                    await replay.replay(shelf, wanted, self._ways(), say, out)
            except (TimeoutError, ConnectionError):
                raise  # of whoever gave the order
            except OSError as error:
                raise Refused(f"dead letters cannot be read or written: {error}", Exit.INPUT_OUTPUT) from error
            finally:
                self._book(out)
        return out

    def _ways(self) -> Mapping[str, Resend]:
        """Each sink under its name and its former names, through the delivery that runs for it."""
        ways: dict[str, Resend] = {name: partial(self._resend, name) for name in self.running.deliveries}
        for name in self.running.deliveries:
            for former in (former for cursor in self.running.spool.cursors(name) for former in cursor.names):
                ways.setdefault(former, ways[name])
        return ways

    async def _resend(self, name: str, run: Run) -> None:
        part = self.running.health.part("sink", name)
        if part.state == "down" and part.reason.startswith(CANNOT_OPEN):
            raise Retryable(part.reason)  # it would be waited for, without end
        delivery = self.running.deliveries.get(name)
        if delivery is None:
            raise Retryable("a reload has this sink in hand: try again")
        await delivery.resend(run)

    def _book(self, outcome: Outcome) -> None:
        for fate, counts in (("replayed", outcome.replayed), ("dropped", outcome.dropped)):
            for sink, count in counts.items():
                self.running.stats.counter(
                    "agent_dead_letters_taken_out_total", "Dead letters taken out by order.", sink=sink, fate=fate
                ).add(count)
        stopped = "; ".join(f"{sink}: {why}" for sink, why in outcome.stopped.items())
        log.info(
            "dead letters were gone through",
            replayed=outcome.replayed.total(),
            dropped=outcome.dropped.total(),
            stay=_total((outcome.refused, outcome.impossible, outcome.left)),
            **({"stopped": stopped} if stopped else {}),
        )


def _wanted(request: Mapping[str, Any]) -> Wanted:
    match request:
        case {"sink": str() | None as sink, "ids": [*ids]} if all(isinstance(each, str) for each in ids):
            return Wanted(sink=sink, ids=frozenset(ids))
    raise Refused('which letters are meant is said by "sink" (a name or null) and "ids" (a list)', Exit.USAGE)


def _total(counts: Iterable[Counter[str]]) -> int:
    return sum(each.total() for each in counts)
