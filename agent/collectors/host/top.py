"""`host.top`: the processes that use most of the CPUs, and those that use most of the memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

from agent.collectors.host.cpu import GUEST, TICKS, Times
from agent.collectors.host.memory import PAGE
from agent.collectors.host.readings import Fields, Row, Tags
from agent.collectors.host.tree import share, text

# Where in /proc/<pid>/stat, counted from the state, which is the first after the name.
USER_TIME, SYSTEM_TIME, THREADS, START, VIRTUAL, RESIDENT = 11, 12, 17, 19, 20, 21


class Task(NamedTuple):
    """One process, as it is now."""

    pid: int
    start: float  # with the pid it names a process: pids come again
    name: str  # never the command line: there are passwords in those
    seconds: float  # of CPU, since it began
    resident: int  # bytes
    virtual: int
    threads: int


class Top:
    """The first reading is only the start of the first interval."""

    def __init__(
        self,
        count: int,
        *,
        tasks: Callable[[], Iterable[Task]],
        owner: Callable[[int], str],
        times: Callable[[], Times],
        memory: Callable[[], int],
    ) -> None:
        self._count = count
        self._tasks = tasks
        self._owner = owner
        self._times = times
        self._memory = memory
        self._last: dict[tuple[int, float], float] = {}
        self._when = 0.0
        self._all = 0.0

    def read(self) -> Iterator[Row]:
        now, everything = time.monotonic(), sum(self._times()["cpu-total"][:GUEST]) / TICKS
        tasks = list(self._tasks())
        before, passed, spent_by_all = self._last, now - self._when, everything - self._all
        self._last = {(task.pid, task.start): task.seconds for task in tasks}
        self._when, self._all = now, everything
        if not before:
            return
        # One that was not there before has begun since.
        spent = {task: max(0.0, task.seconds - before.get((task.pid, task.start), 0.0)) for task in tasks}
        busiest = [task for task in nlargest(self._count, tasks, key=spent.__getitem__) if spent[task] > 0]
        largest = [task for task in nlargest(self._count, tasks, key=lambda task: task.resident) if task.resident]
        memory = self._memory()
        for task in dict.fromkeys(busiest + largest):
            fields: Fields = {"cpu_usage": share(spent[task], passed)}
            if spent_by_all > 0:
                fields["cpu_share"] = share(min(spent[task], spent_by_all), spent_by_all)
            fields |= {"memory_rss": task.resident, "memory_usage": share(task.resident, memory)}
            yield Row("host.top", self._tags(task), fields | {"memory_vms": task.virtual, "num_threads": task.threads})

    def _tags(self, task: Task) -> Tags:
        owner = self._owner(task.pid)
        tags: Tags = (("process_name", task.name), ("pid", str(task.pid)))
        return (*tags, ("user", owner)) if owner else tags  # it has ended meanwhile


def task(stat: bytes) -> Task | None:
    """The text of a /proc/<pid>/stat; None where the process ended while it was read. Raises ValueError."""
    # A name may hold blanks and brackets of its own; what follows it does not.
    opened, closed = stat.find(b"("), stat.rfind(b")")
    rest = stat[closed + 1 :].split(None, RESIDENT + 1)
    if opened < 0 or len(rest) <= RESIDENT:
        return None
    return Task(
        int(stat[:opened]),
        int(rest[START]),
        text(stat[opened + 1 : closed]),
        (int(rest[USER_TIME]) + int(rest[SYSTEM_TIME])) / TICKS,
        max(0, int(rest[RESIDENT])) * PAGE,
        int(rest[VIRTUAL]),
        int(rest[THREADS]),
    )
