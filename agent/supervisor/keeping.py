"""Tasks that go on whatever happens in them, and are ended by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random

import structlog

from agent.errors import kind_of_bug
from agent.stats import Part
from agent.timing import Backoff

log = structlog.get_logger()

# A plugin that ended gets this long to make its first attempt after the pause.
FIRST_ATTEMPT = 60.0


class Tasks:
    """Tasks by name. The next of a name begins once those before it have ended, however long they take to end."""

    def __init__(self, group: asyncio.TaskGroup, kind: str) -> None:
        self._group = group
        self._kind = kind
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}  # the one that works last, those that are ending first

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin it."""
        ending = [task for task in self._tasks.get(name, []) if not task.done()]
        task = self._group.create_task(_after(ending, work), name=f"{self._kind} {name}")
        self._tasks[name] = [*ending, task]

    async def end(self, names: Iterable[str], *, within: float | None = None) -> None:
        """Cancel them; return when they have ended, or when the time is up: what still hangs ends later."""
        tasks = [task for name in names for task in self._tasks.get(name, [])]
        for task in tasks:
            if not task.cancelling():  # one that is ending already is not to be torn out of that
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        self._tasks = {name: some for name, some in self._tasks.items() if not all(task.done() for task in some)}

    async def end_all(self) -> None:
        """Cancel whatever there is, and wait for its end."""
        await self.end(list(self._tasks))


async def _after(ending: list[asyncio.Task[None]], work: Callable[[], Awaitable[None]]) -> None:
    if ending:
        await asyncio.wait(ending)
    await work()


async def keep_running(part: Part, start: Callable[[], Awaitable[None]], rng: Random) -> None:
    """Run `start` again whenever it ends. One plugin's bug is not an outage."""
    clock = asyncio.get_running_loop().time
    backoff = Backoff()
    failures = 0
    while True:
        started = clock()
        try:
            await start()
            log.error("ended by itself", kind=part.kind, name=part.name)
            part.become("down", "ended by itself")
        except Exception as bug:
            # A bug in a plugin: said with its trace, and the plugin gets another chance.
            log.exception("failed", kind=part.kind, name=part.name)
            part.become("down", f"bug: {kind_of_bug(bug)}")
            if (task := asyncio.current_task()) is not None and task.cancelling():
                return  # it failed while it was being stopped; started again it would hold up the stop for good
        failures = 0 if clock() - started > backoff.cap else failures + 1
        pause = backoff.delay(failures, rng)
        part.beat(pause + FIRST_ATTEMPT)
        await asyncio.sleep(pause)


async def guarded(run: Callable[[], Awaitable[None]], what: str) -> None:
    """A bug in what only tells of others ends itself alone; it is said, and the next start begins it anew."""
    try:
        await run()
    except Exception:
        # Said with its trace; neither records nor their delivery need it.
        log.exception("failed, and stays so until the next start", part=what)


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them, and wait for their end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
