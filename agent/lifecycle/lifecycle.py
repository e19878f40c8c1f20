"""
Tells of the agent's own starts, stops and outages, each after a delay and each exactly as often as it is due.

    begin ─▸ run: what is due becomes a record of event.agent      ended: the stop is remembered
    tell  ─▸      (delivery says how its sinks fare)               and told after the next start

Nothing is emitted at a stop: then a thousand agents would speak at once, each with a moment to be heard in.
What is still to be said stands in `events.json` all the time, so a kill -9 loses none of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from random import Random

import msgspec
import orjson
import structlog

from agent.delivery import Notice
from agent.events.memory import Memory
from agent.events.rule import BOOKS, OWN, SOURCE
from agent.lifecycle.standing import Kind, Saying, Standing
from agent.ports import Emit
from agent.record import Emission, Parsed, Stream
from agent.stats import Health

log = structlog.get_logger()

LOOK_AGAIN = 1.0  # seconds between two looks whether a sink is up that was down when the last life ended
LONGEST_WAIT = 60.0  # seconds until it is looked again whether the clock was set


class Lifecycle:
    """One life of the agent. `lanes`: which lane each sink reads."""

    def __init__(
        self,
        kinds: Collection[Kind],
        memory: Memory | None,
        *,
        jitter: float,
        host: str,
        version: str,
        config: str,
        lanes: Mapping[str, str],
        health: Health,
        rng: Random,
    ) -> None:
        self._kinds = () if memory is None else kinds  # what cannot be remembered cannot be told rightly
        self._memory = memory
        self._jitter = jitter
        self._host = host
        self._about = {"version": version, "config": config}
        self._lanes = lanes
        self._health = health
        self._rng = rng
        self._stir = asyncio.Event()
        former = None
        if memory is not None and self._kinds:
            former = memory.section("agent", Standing, lambda: msgspec.Raw(msgspec.json.encode(self._standing)))
            memory.has_life = True
        self._standing = former or Standing()
        self._carried = set[str]()

    def begin(self, *, again: bool) -> None:
        """Everything runs. `again`: in a process that ran before, with another configuration."""
        if not self._kinds:
            return
        now, standing = _now(), self._standing
        standing.forget_others(self._lanes)
        if again:
            standing.carry_on(now, **self._about)
        else:
            alive = self._memory.alive_ms if self._memory is not None else None
            standing.begin(now, self._due(), now + round(self._jitter * 1000), alive=alive, **self._about)
        self._carried = standing.unresolved() if "outage" in self._kinds else set()
        self._changed()

    def carry_on(self, *, config: str, lanes: Mapping[str, str]) -> None:
        """The configuration has changed while everything runs: some deliveries are others now."""
        self._about["config"], self._lanes = config, lanes
        if self._kinds:
            self.begin(again=True)

    def tell(self, notice: Notice) -> None:
        """Take what delivery says of a sink."""
        if "outage" in self._kinds:
            self._carried.discard(notice.sink)
            self._standing.notice(notice, self._due())
            self._changed()

    async def run(self, emit: Emit) -> None:
        """Say what is due, until cancelled. `emit` is that of events."""
        if not self._kinds:
            return
        while True:
            self._look_at_carried()
            now = _now()
            self._standing.hasten(now, now + round(self._jitter * 1000))
            if self._standing.ripen(_now(), self._host, self._kinds):
                self._changed()
            self._stir.clear()
            if self._standing.sayings:
                await self._say(emit)
            due = self._standing.due
            wait = LONGEST_WAIT if due is None else min(max(0, due - _now()) / 1000, LONGEST_WAIT)
            try:
                async with asyncio.timeout(min(wait, LOOK_AGAIN) if self._carried else wait):
                    await self._stir.wait()
            except TimeoutError:
                continue

    def ended(self, stopped_ms: int) -> None:
        """Everything has wound down: that it was stopped, and when, is for the next life to tell."""
        self._standing.stopped = stopped_ms

    async def _say(self, emit: Emit) -> None:
        """Emit all that is to be said now; what is durable is said."""
        sayings = list(self._standing.sayings)
        streams = [
            Stream(
                SOURCE + OWN,
                {"sink": saying.sink} if saying.sink else {},
                _parse,
                never=self._lanes.get(saying.sink, ""),
            )
            for saying in sayings
        ]
        payloads = [orjson.dumps({"ts": saying.ts, "fields": saying.fields}) for saying in sayings]
        future = emit(Emission(BOOKS, streams, payloads, _now()))
        future.add_done_callback(lambda done: self._said(done, sayings))
        # Not awaited as such: being cancelled here must not take back what is on its way to the disk.
        await asyncio.wait([future])

    def _said(self, done: asyncio.Future[None], sayings: list[Saying]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        gone = {id(saying) for saying in sayings}
        self._standing.sayings = [saying for saying in self._standing.sayings if id(saying) not in gone]
        for saying in sayings:
            log.info("said of itself", state=saying.fields["state"], sink=saying.sink or None)
        self._changed()

    def _look_at_carried(self) -> None:
        """A sink that was down at the end of the last life, and works in this one, is up again."""
        for sink in list(self._carried):
            part = self._health.part("sink", sink)
            if part.state == "up":
                self._carried.discard(sink)
                until = round(part.since * 1000)
                self.tell(Notice(sink=sink, what="up", reason="", since_ms=until, until_ms=until, records=0))

    def _due(self) -> int:
        return _now() + round(self._rng.uniform(0.0, self._jitter) * 1000)

    def _changed(self) -> None:
        self._stir.set()
        if self._memory is not None:
            self._memory.changed()


def _parse(payload: bytes) -> list[Parsed]:
    """An event with a time of its own."""
    read = orjson.loads(payload)
    return [Parsed(orjson.dumps(read["fields"]), read["ts"])]


def _now() -> int:
    return time.time_ns() // 1_000_000
