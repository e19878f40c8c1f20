"""
Takes the readings of one tick in a thread, and leaves behind what fails or hangs.

    todo: cpu, mem, disk, net        one thread walks through them
      disk gives disk /, disk /nfs   which are done next, in its place
      disk /nfs does not return      the thread is left to it, marked as stuck; another goes on with net
      next tick: disk /nfs is left out until that thread comes back

A thread is made for each walk, and as a daemon: one that hangs in the kernel can be neither stopped
nor joined, and an executor's would keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from agent.collectors.host.readings import Absent, Reading, Row, Tags

LATER_PATIENCE = 0.1  # of the timeout, once something has hung in this tick: the others want their turn


@dataclass(slots=True)
class Sample:
    """What one tick gave."""

    rows: list[tuple[str, Tags, bytes]] = field(default_factory=list)  # source, tags, fields as JSON
    failures: dict[str, str] = field(default_factory=dict)  # label -> reason
    groups: dict[str, str] = field(default_factory=dict)  # label -> group, of everything that had its turn


class Sampler:
    """Takes the given readings whenever asked. One `sample` at a time."""

    def __init__(self, readings: Sequence[Reading], timeout: float) -> None:
        self._readings = readings
        self._timeout = timeout
        self._stuck: dict[str, float] = {}  # label -> since when, on the monotonic clock

    async def sample(self) -> Sample:
        """One turn for every reading that is not stuck. Takes the timeout at most, and a tenth for each one more."""
        sample, todo, patience = Sample(), deque(self._readings), self._timeout
        while todo:
            walk = _Walk(todo, sample, self._stuck)
            if not await walk.finished(patience):
                patience = self._timeout * LATER_PATIENCE
        return sample


class _Walk:
    """One thread's way through the readings, until all are done or it is left behind in one."""

    def __init__(self, todo: deque[Reading], sample: Sample, stuck: dict[str, float]) -> None:
        self._todo = todo
        self._sample = sample
        self._stuck = stuck
        self._lock = threading.Lock()  # holds `_current` and the sample together
        self._current: Reading | None = None
        self._since = 0.0
        self._left = False
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()

    async def finished(self, patience: float) -> bool:
        """True when all had their turn; False when one took longer than that: it is stuck, the rest is still to do."""
        threading.Thread(target=self._walk, name="host-metrics", daemon=True).start()
        wait = patience
        while not self._done.done():
            await asyncio.wait([self._done], timeout=wait)
            with self._lock:
                # Without a current one the thread is about to begin, or to end.
                wait = patience if self._current is None else self._since + patience - time.monotonic()
                if self._current is not None and wait <= 0:
                    self._leave(self._current, patience)
                    return False
        return True

    def _leave(self, reading: Reading, patience: float) -> None:
        self._left = True
        self._stuck[reading.label] = self._since
        self._sample.groups[reading.label] = reading.group
        self._sample.failures[reading.label] = f"no answer within {patience:g} s; left out until it returns"

    def _walk(self) -> None:
        while (reading := self._next()) is not None:
            found: list[Row | Reading] = []
            reason = None
            try:
                found = list(reading.read())
                rows = [(row.source, row.tags, encode(row)) for row in found if isinstance(row, Row)]
            except Absent:
                rows = []
            except Exception as error:  # noqa: BLE001 - whatever it is costs this reading alone, and is logged
                rows, reason = [], f"{type(error).__name__}: {error}"
            with self._lock:
                if self._left:
                    del self._stuck[reading.label]
                    return
                self._current = None
                self._sample.groups[reading.label] = reading.group
                self._sample.rows += rows
                self._todo.extendleft(more for more in reversed(found) if isinstance(more, Reading))
                if reason is not None:
                    self._sample.failures[reading.label] = reason
        try:
            self._loop.call_soon_threadsafe(self._say_done)
        except RuntimeError:
            pass  # the loop has been closed meanwhile: nobody waits

    def _next(self) -> Reading | None:
        while self._todo:
            reading = self._todo.popleft()
            since = self._stuck.get(reading.label)
            if since is None:
                with self._lock:
                    self._current, self._since = reading, time.monotonic()
                return reading
            self._sample.groups[reading.label] = reading.group
            self._sample.failures[reading.label] = "no answer yet; left out until it returns"
        return None

    def _say_done(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


def encode(row: Row) -> bytes:
    """The fields of a row as JSON, without those that are no number: orjson writes NaN and infinity as null."""
    fields = orjson.dumps(row.fields)
    if b"null" in fields:
        numbers = {name: value for name, value in row.fields.items() if value - value == 0}
        fields = orjson.dumps(numbers)
    return fields
