"""
Keeps one session with one broker going: connect, subscribe, ping, and again after whatever ends it.

Everything that both versions of MQTT have in common is here and in the inbox; a reader knows packets only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

import structlog

from agent.collectors.mqtt import connecting, reasons
from agent.collectors.mqtt.inbox import Inbox
from agent.collectors.mqtt.standing import Standing
from agent.collectors.mqtt.telling import REMIND, Telling
from agent.collectors.mqtt.wire import Broken, OpenWire, Refused, Target, Wanted, Wire
from agent.timing import Backoff

log = structlog.get_logger()

TICK = 2.0  # seconds between looks at the connection, and between pings while acknowledgements are unconfirmed
QUIET = 30.0  # between looks while nothing comes and nothing is waited for, unless a ping is due before
STABLE = 30.0  # a connection that lasted this long starts the backoff afresh
RETRY_REFUSED = 60.0  # a refused subscription is asked for again; permissions change
TAKE_OVERS, WITHIN = 3, 60.0
MARGIN = 30.0  # what an attempt may take beyond its own limits, on a busy machine, before the watchdog minds
LAST_ACKS = 1.0  # seconds to wait for the last commits when we are stopped


class Connection:
    """One session: a client id, its subscriptions, its inbox."""

    def __init__(
        self,
        name: str,
        *,
        connect: OpenWire,
        target: Target,
        inbox: Inbox,
        wanted: Sequence[Wanted],
        former: Sequence[str],
        standing: Standing,
        rng: Random,
        backoff: Backoff,
    ) -> None:
        """`former`: filters that an earlier configuration left in the session."""
        self._name = name
        self._connect = connect
        self._target = target
        self._inbox = inbox
        self._wanted = list(wanted)
        self._former = [each for each in former if each not in {one.filter for one in wanted}]
        self._standing = standing
        self._rng = rng
        self._backoff = backoff
        self._log = log.bind(collector=name, broker=f"{target.host}:{target.port}")
        self._telling = Telling(self._log)
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._stirred: asyncio.Future[None] = self._loop.create_future()
        self._ends: deque[float] = deque(maxlen=TAKE_OVERS)
        self._said_take_over = float("-inf")
        self._subscribed_before = False
        self._refusals_said: set[str] = set()
        self._grants_said: set[str] = set()

    def stir(self) -> None:
        """Messages have come, so there will be acknowledgements to confirm."""
        if not self._stirred.done():
            self._stirred.set_result(None)

    async def run(self) -> None:
        """Work until cancelled."""
        attempt = 0
        while True:
            self._standing.beat(self._target.connect_timeout * 3 + 2 * TICK + MARGIN)
            opened: float | None = None
            try:
                async with self._connect(self._target, self._inbox) as wire:
                    opened = self._clock()
                    await self._tend(wire)
            except Broken as end:
                self._ended(end, opened)
            except OSError as error:  # TimeoutError is one
                self._ended(connecting.failure(error, self._target), opened)
            except UnicodeError as error:
                self._ended(Broken(f"cannot connect: {error}", operator=True), opened)
            lasted = 0.0 if opened is None else self._clock() - opened
            attempt = 0 if lasted >= STABLE else attempt + 1
            delay = self._backoff.delay(max(attempt - 1, 0), self._rng)
            self._standing.beat(delay + self._target.connect_timeout + MARGIN)
            await asyncio.sleep(delay)

    async def _tend(self, wire: Wire) -> None:
        """See to an open connection until it ends, which raises Broken."""
        self._up(wire)
        try:
            await self._watch(wire)
        except asyncio.CancelledError:
            # We are stopped: what is on its way to the disk is acknowledged if it gets there in a moment.
            await self._inbox.drain(LAST_ACKS)
            raise

    async def _watch(self, wire: Wire) -> None:
        tick = min(TICK, wire.keepalive / 4)
        asking = self._wanted_now(wire)
        answer: asyncio.Future[list[int]] | None = wire.subscribe(asking) if asking else None
        asked = pinged = self._clock()
        retry_at = float("inf")
        waiting = False  # for the answer to a ping
        if not asking:
            self._standing.up()
        while True:
            waits: list[asyncio.Future[Any]] = [wire.closed] if answer is None else [wire.closed, answer]
            pause = tick
            if answer is None and not waiting and not self._inbox.unconfirmed and not self._inbox.outstanding:
                pause = max(tick, min(QUIET, min(pinged + wire.keepalive / 2, retry_at) - self._clock()))
                self._stirred = self._loop.create_future()
                waits.append(self._stirred)
            self._standing.beat(pause + 4 * tick + 10)
            await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            now = self._clock()
            self._telling.look(now)
            if wire.closed.done():
                raise wire.closed.result()
            if wire.held:
                asked = max(asked, now)  # no answer can be read now, so none is late
            if answer is not None and answer.done():
                asking = self._granted(asking, answer.result())
                answer = None
                if asking:
                    retry_at = now + RETRY_REFUSED
            elif answer is not None and now - asked > self._target.connect_timeout:
                raise Broken("the broker did not answer SUBSCRIBE")
            elif answer is None and now >= retry_at:
                answer, asked, retry_at = wire.subscribe(asking), now, float("inf")
            if waiting and wire.answered:
                waiting = False
                self._inbox.answered()
            confirming = not waiting and now - pinged >= tick and self._inbox.unconfirmed and self._inbox.mark()
            if confirming or now - pinged >= wire.keepalive / 2:
                if waiting and not wire.held and now - pinged >= wire.keepalive:
                    raise Broken(f"no answer to a ping for {wire.keepalive:g} s")
                if not waiting or wire.held:
                    wire.ping()
                    if not waiting:  # else the answer to the former ping could be taken for that to this one
                        self._inbox.pinged()
                    waiting, pinged = True, now

    def _wanted_now(self, wire: Wire) -> list[Wanted]:
        if wire.resumed:
            wire.unsubscribe(self._former)
            if self._subscribed_before:
                # 3.1.1 sends retained messages at every SUBSCRIBE: those filters are in the session, so not again.
                return [each for each in self._wanted if not each.retained]
        return self._wanted

    def _granted(self, asked: Sequence[Wanted], codes: Sequence[int]) -> list[Wanted]:
        """Look at the answer to SUBSCRIBE; what was refused is given back."""
        refused = []
        reason = ""
        for each, code in zip(asked, codes, strict=True):
            if code >= 0x80:
                words = reasons.name(code)
                reason = reason or f"subscription refused: {each.filter}: {words}"
                refused.append(each)
                if f"{each.filter} {code}" not in self._refusals_said:
                    self._refusals_said.add(f"{each.filter} {code}")
                    self._log.error("mqtt subscription refused", filter=each.filter, reason=words)
            elif code < each.qos and f"{each.filter} {code}" not in self._grants_said:
                self._grants_said.add(f"{each.filter} {code}")
                self._log.warning("mqtt subscription granted less", filter=each.filter, asked=each.qos, granted=code)
        self._subscribed_before = not refused
        if refused:
            self._standing.down("down", reason)
        else:
            self._refusals_said.clear()
            self._standing.up()
        return refused

    def _up(self, wire: Wire) -> None:
        self._telling.up(self._clock(), kept=wire.resumed)

    def _ended(self, end: Broken, opened: float | None) -> None:
        """A connection ended, or could not be made: say so where that is news."""
        now = self._clock()
        self._standing.down("refusing" if isinstance(end, Refused) and end.operator else "down", end.reason)
        self._telling.down(end.reason, now, was_open=opened is not None, operator=end.operator)
        # 3.1.1 has no word for a take-over, and Mosquitto 2.0 does not use that of 5: the connection ends soon after it
        # began, and can be had again at once. Where it cannot, that was no twin's doing.
        if opened is None:
            self._ends.clear()
        elif end.taken_over or (end.silent and now - opened < WITHIN / 2):
            self._ends.append(now)
            self._look_for_twin(now, sure=end.taken_over)

    def _look_for_twin(self, now: float, *, sure: bool) -> None:
        if len(self._ends) < TAKE_OVERS or now - self._ends[0] > WITHIN or now - self._said_take_over < REMIND:
            return
        self._said_take_over = now
        self._log.error(
            "mqtt client id used twice",
            client_id=self._target.client_id,
            cause=("" if sure else "most likely ")
            + "another client connects with this client id, and each throws the other out; "
            "is this configuration or state directory in use on two machines?",
            times=TAKE_OVERS,
        )
