"""The topics that broker sessions may be subscribed to: they outlive the collector that asked for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from agent import remembered
from agent.ports import Collector
from agent.stats import Health

log = structlog.get_logger()

# How often it is looked whether a collector is up, so that its topics can be kept for the next run.
LOOK_AGAIN = 1.0


class Filters:
    """What each collector's session may have, from run to run and from one configuration to the next."""

    def __init__(self, directory: Path, former: remembered.Filters) -> None:
        self._directory = directory
        self._written = dict(former)
        self._possible = dict(former)
        self._own: dict[str, tuple[str, ...]] = {}  # of the collectors that run

    def begin(self, name: str, collector: Collector) -> tuple[str, ...]:
        """The collector starts: gives what its session may have from before, and adds what it asks for."""
        former, own = self._possible.get(name, ()), tuple(getattr(collector, "filters", ()))
        self._possible[name] = (*former, *(each for each in own if each not in former))
        self._own[name] = own
        return former

    def end(self, name: str) -> None:
        """The collector was ended."""
        self._own.pop(name, None)

    async def keep(self, health: Health) -> None:
        """Once a collector is up, it has unsubscribed the rest: only its own topics are left for the next run."""
        while True:
            for name, own in self._own.items():
                if self._possible[name] != own and health.part("collector", name).state == "up":
                    self._possible[name] = own
            present = {name: self._possible[name] for name in self._own if self._possible[name]}
            if present != self._written:
                try:
                    await asyncio.to_thread(remembered.write, self._directory, present)
                    self._written = present
                except OSError as error:
                    log.debug("the topics subscribed to are not kept yet", reason=error.strerror)
            elif all(self._possible[name] == own for name, own in self._own.items()):
                return
            await asyncio.sleep(LOOK_AGAIN)
