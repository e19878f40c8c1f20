"""The rules of one agent at work: which sinks they watch, one task a rule, and what there is to see of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

import structlog

from agent.dataflow.book import NAME, Book
from agent.dataflow.noted import Noted
from agent.dataflow.patience import BACKOFF
from agent.dataflow.rule import Rule
from agent.dataflow.shown import Shown, count, show, shown
from agent.dataflow.turns import Turns
from agent.errors import Retryable
from agent.ncloud.data_flow import Account, open_data_flow
from agent.ports import Sink
from agent.stats import Stats

log = structlog.get_logger()

MOST = (
    2 << 20
)  # bytes of an answer, 10 KB for each execution of a page: its JSON takes many times that, beside deliveries


class Rules:
    """The rules, with what they have kept. `open` gives them."""

    def __init__(
        self, rules: Sequence[Rule], account: Account, book: Book, directory: Path, *, stats: Stats, rng: Random
    ) -> None:
        self._account = account
        self._book = book
        self._path = directory / NAME
        self._rng = rng
        self._turns = {rule.name: Turns(rule, book, rng, partial(count, stats, rule.name)) for rule in rules}
        for name, turns in self._turns.items():
            show(stats, name, turns)

    @classmethod
    async def open(
        cls, rules: Sequence[Rule], account: Account, directory: Path, *, stats: Stats, rng: Random
    ) -> Rules:
        """Take up what the last run left in the state directory. Raises StateError where that cannot be read."""
        book = await Book.open(directory)
        book.forget_others({rule.name for rule in rules}, {rule.sink for rule in rules})
        return cls(rules, account, book, directory, stats=stats, rng=rng)

    def watched(self, name: str, sink: Sink) -> Sink:
        """The sink of that name as delivery is to have it: where a rule is about it, its objects are noted."""
        watching = [turns for turns in self._turns.values() if turns.rule.sink == name]
        return Noted(sink, partial(self._note, name, watching)) if watching else sink

    async def run(self) -> None:
        """Work until cancelled. What fails at Data Flow is waited out; a bug ends the one rule that it struck."""
        failures = 0
        while True:
            try:
                async with (
                    open_data_flow(self._account, "Data Flow", most=MOST) as flow,
                    asyncio.TaskGroup() as tasks,
                ):
                    failures = 0
                    for name, turns in self._turns.items():
                        tasks.create_task(_guarded(turns, turns.run(flow)), name=f"dataflow {name}")
                    # A bug in one, or in all, is no reason to start anything again.
                    await asyncio.Event().wait()
            except OSError as error:  # a certificate that cannot be read, for one
                log.warning("Data Flow's client cannot be opened", reason=str(error))
            await asyncio.sleep(BACKOFF.delay(failures, self._rng))
            failures += 1

    def shown(self) -> Mapping[str, Shown]:
        """Every rule, for the status pages."""
        return {name: shown(turns) for name, turns in self._turns.items()}

    async def _note(self, sink: str, watching: Sequence[Turns], object_id: str) -> None:
        self._book.count(sink, object_id, [turns.rule.name for turns in watching])
        try:
            await self._book.save()
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"the object is stored and cannot be noted for [[dataflow]]: {self._path}: {reason}"
            raise Retryable(text) from error
        for turns in watching:
            turns.stir()


async def _guarded(turns: Turns, work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception as bug:
        # Started again by itself, it might start a job again and again.
        log.exception("Data Flow rule failed, and rests until the next start", rule=turns.rule.name)
        turns.broke(bug)
