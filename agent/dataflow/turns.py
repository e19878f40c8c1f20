"""
One rule at work: it waits until it is due, and its run goes from intent to outcome, a step on disk before the next.

    due ─▸ what was there before ─▸ intent on disk ─▸ start ─▸ execution's id on disk ─▸ follow ─▸ outcome on disk
                                          │                              │
             killed here: was it started? look first, then start      killed here: follow it

What fails at Data Flow, or at the disk, is waited out at the step where it failed. There is one run at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Literal

import structlog

from agent.dataflow.book import Book
from agent.dataflow.due import anchor, day_of, following, is_due, latest, next_day, tick
from agent.dataflow.kept import Intent, Kept, Outcome
from agent.dataflow.patience import Patience
from agent.dataflow.rule import Rule
from agent.errors import DeliveryError, kind_of_bug
from agent.ncloud.data_flow import (
    Before,
    DataFlow,
    Item,
    Refused,
    Unconfirmed,
    before,
    by_others,
    execution_id,
    followed,
    found,
    is_doubtful,
    run_body,
    started,
    workflow_followed,
)
from agent.units import format_duration

log = structlog.get_logger()

Phase = Literal["waiting", "at its daily limit", "starting", "running", "failed"]

LOOK_AGAIN = 60.0  # seconds after which a wait for the wall clock looks at it again: it may have been set
LOOKS = 1.0  # seconds at most between two looks for what was just started
A_LOOK = 60.0  # seconds that a run of a former life is followed at least
_OUTCOMES: dict[str, Outcome] = {"COMPLETED": "COMPLETED", "FAILED": "FAILED", "CANCELED": "CANCELED"}


class Turns:
    """The runs of one rule. `phase` is for whoever looks at it."""

    def __init__(self, rule: Rule, book: Book, rng: Random, ended: Callable[[Outcome], None]) -> None:
        """`ended` hears of each outcome."""
        self.rule = rule
        self.phase: Phase = "waiting"
        self._book = book
        self._patience = Patience(rule.name, rng)
        self._ended = ended
        self._began: float | None = None  # the run under way, by the loop's clock, which nobody sets
        self._stirred = asyncio.Event()

    @property
    def kept(self) -> Kept:
        """What of it is, or is to be, on disk."""
        return self._book.rule(self.rule.name)

    @property
    def trouble(self) -> str:
        """Why it cannot go on; "": it can."""
        return self._patience.trouble

    def stir(self) -> None:
        """There is something new to look at."""
        self._stirred.set()

    def broke(self, bug: Exception) -> None:
        """Nothing more will come of it in this life."""
        self.phase, self._patience.trouble = "failed", f"bug: {kind_of_bug(bug)}"

    async def run(self, flow: DataFlow) -> None:
        """Work until cancelled: whatever has begun by then stands on disk, and the next start goes on with it."""
        while True:
            intent, is_fresh, self._began = self.kept.intent, False, None
            if intent is None:
                await self._due()
                intent, is_fresh = await self._mean(flow), True
            if not intent.execution:
                self.phase = "starting"
                await self._start(flow, intent, is_fresh=is_fresh)
            if intent.execution:
                self.phase = "running"
                # What has ended while there was no agent is looked at, too, however long ago.
                left = self._left(intent)
                await self._follow(flow, intent, within=left if is_fresh else max(left, A_LOOK))

    async def _due(self) -> None:
        """Wait for the moment."""
        rule, kept = self.rule, self.kept
        while True:
            self._stirred.clear()
            now = time.time()
            day = day_of(now)
            if anchor(rule, kept, now):
                await self._patience.ask(self._book.save)
            wake = following(rule, now)
            if is_due(rule, kept, now):
                if kept.runs_on(day) < rule.max_runs_per_day:
                    return
                self.phase, wake = "at its daily limit", next_day(now)
                await self._tell_limit(kept, day)
            else:
                self.phase = "waiting"
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wake is None else min(max(wake - now, 0.0), LOOK_AGAIN)):
                    await self._stirred.wait()

    async def _tell_limit(self, kept: Kept, day: str) -> None:
        if kept.limit_told != day:
            kept.limit_told = day
            log.warning(
                "Data Flow rule has had its runs for today, what is due waits for tomorrow",
                rule=self.rule.name,
                runs=kept.runs_on(day),
                max_runs_per_day=self.rule.max_runs_per_day,
                objects=kept.waiting,
            )
            await self._patience.ask(self._book.save)

    async def _mean(self, flow: DataFlow) -> Intent:
        """Write down that there will be a run, before Data Flow hears of it."""
        rule, kept = self.rule, self.kept
        self.phase = "starting"
        mark = await self._patience.ask(partial(before, flow, rule.kind, rule.id))
        now, self._began = time.time(), asyncio.get_running_loop().time()
        moment = latest(rule, now)
        intent = Intent(before=mark.to_dict(), objects=kept.waiting, began=tick(now))
        kept.mean(intent, day_of(now), None if moment is None else tick(moment))
        await self._patience.ask(self._book.save)
        return intent

    async def _start(self, flow: DataFlow, intent: Intent, *, is_fresh: bool) -> None:
        """Have it started, once: where it may have been already, it is looked for first."""
        failures, is_doubted = 0, not is_fresh
        while not intent.execution:
            mark = Before.from_dict(intent.before)
            try:
                if is_doubted:
                    intent.execution = await self._looked_for(flow, mark)
                    is_doubted = intent.is_accepted
                if intent.is_accepted and not intent.execution and self._left(intent) <= 0:
                    self._patience.well()
                    await self._end("UNKNOWN", "Data Flow took the start, and no execution of it has shown up")
                    return
                if not intent.execution and not intent.is_accepted:
                    intent.execution = await self._started(flow, mark)
            except DeliveryError as error:
                # Without a cause: the answer came and was a yes, and only the execution is not listed yet.
                intent.is_accepted |= isinstance(error, Unconfirmed) and error.__cause__ is None
                is_doubted = is_doubted or is_doubtful(error)
                await self._patience.ask(self._book.save)  # before the pause: that it was accepted outlives a kill
                await self._patience.failed(error, failures)
                failures += 1
                if not is_doubted:
                    # Nothing was started: what others have started meanwhile is none of ours.
                    now = await self._patience.ask(partial(before, flow, mark.kind, mark.id))
                    intent.before = now.to_dict()
                    await self._patience.ask(self._book.save)
        self._patience.well()
        await self._patience.ask(self._book.save)
        log.info(
            "Data Flow run has started",
            rule=self.rule.name,
            target=intent.before.get("target"),
            execution=intent.execution,
            objects=intent.objects,
            run_today=self.kept.runs,
        )

    async def _started(self, flow: DataFlow, mark: Before) -> str:
        body, condition = None, self.rule.job_condition
        if mark.kind == "job":
            body = run_body(flow.api, None if condition is None else condition.body, self.rule.parameters)
        looks = min(LOOKS, self.rule.poll)
        return await started(flow, mark, body, say=self._patience.say, appears=self.rule.settle, looks=looks)

    async def _looked_for(self, flow: DataFlow, mark: Before) -> str:
        """The id of the run that may have been started; "" where none has shown up for long enough."""
        clock = asyncio.get_running_loop().time
        until = clock() + self.rule.settle
        log.info(
            "Data Flow run may have been started already, looking for it",
            rule=self.rule.name,
            target=mark.target,
            at_most=self.rule.settle,
        )
        while True:
            is_last = clock() >= until  # a look that began after the time was up, and was answered
            execution = await found(flow, mark)
            # One that others seem to have begun is taken last: ours may not be listed yet, or never have been started.
            if execution is not None and (is_last or not by_others(mark, execution)):
                return execution_id(execution)
            if is_last:
                return ""
            await asyncio.sleep(min(self.rule.poll, max(until - clock(), 0.0)))

    async def _follow(self, flow: DataFlow, intent: Intent, *, within: float) -> None:
        """Stay with it to its end, and write that down."""
        mark = Before.from_dict(intent.before)
        try:
            async with asyncio.timeout(within) as limit:
                execution = await self._patience.ask(
                    partial(self._followed, flow, mark, intent), but=(Refused, Unconfirmed)
                )
        except TimeoutError:
            if not limit.expired():
                raise
            await self._end("UNKNOWN", f"no end of it was seen within {format_duration(self.rule.timeout)}")
        except (Refused, Unconfirmed) as gone:
            await self._end("UNKNOWN", gone.reason)
        else:
            await self._end(_OUTCOMES[str(execution["status"])], "", execution)

    async def _end(self, outcome: Outcome, why: str, execution: Item | None = None) -> None:
        """Write down how the run under way has ended, and say it."""
        target = "" if self.kept.intent is None else self.kept.intent.before.get("target")
        ended = self.kept.end(outcome, tick(time.time()))
        await self._patience.ask(self._book.save)
        self._ended(outcome)
        said = {
            "rule": self.rule.name,
            "target": target,
            "execution": ended.execution,
            "objects": ended.objects,
            "seconds": round((ended.ended - ended.began) / 1000, 1),
            "waiting": self.kept.waiting,
        }
        condition = (execution or {}).get("jobCondition")
        console = condition.get("consoleLogPath") if isinstance(condition, dict) else None
        match outcome:
            case "COMPLETED":
                log.info("Data Flow run has completed", **said)
            case "UNKNOWN":
                log.error("Data Flow run was followed in vain, it is not repeated", **said, reason=why)
            case _:
                log.error("Data Flow run has not completed, it is not repeated", **said, status=outcome, log=console)

    def _left(self, intent: Intent) -> float:
        """For how many seconds it is still to be followed: by this life's own clock, or by the wall's of two lives."""
        began = self._began
        since = time.time() - intent.began / 1000 if began is None else asyncio.get_running_loop().time() - began
        return self.rule.timeout - max(since, 0.0)

    async def _followed(self, flow: DataFlow, mark: Before, intent: Intent) -> Item:
        if mark.kind == "workflow":
            return await workflow_followed(flow, mark, every=self.rule.poll, say=self._patience.say)
        return await followed(flow, mark.id, intent.execution, every=self.rule.poll, say=self._patience.say)
