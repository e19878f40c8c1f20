"""What the agent counts and how its parts fare: plain numbers that the status pages, `self` and the watchdog read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """One value to show: a Prometheus-style name, its labels, its kind."""

    name: str
    labels: Mapping[str, str]
    value: float
    kind: Literal["counter", "gauge"]
    help: str


@dataclass(slots=True)
class Counter:
    """A number that only grows. Only the event loop's thread adds to it."""

    value: int = 0

    def add(self, n: int = 1) -> None:
        self.value += n


class Stats:
    """The counters and gauges of one agent."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, tuple[tuple[str, str], ...]], Counter] = {}
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], Callable[[], float]] = {}
        self._help: dict[str, str] = {}

    def counter(self, name: str, help: str, **labels: str) -> Counter:
        """The counter of that name and labels, made at first sight. Names end in `_total`."""
        self._help.setdefault(name, help)
        return self._counters.setdefault((name, tuple(sorted(labels.items()))), Counter())

    def gauge(self, name: str, help: str, read: Callable[[], float], **labels: str) -> None:
        """Show what `read()` gives under that name, from now on."""
        self._help.setdefault(name, help)
        self._gauges[name, tuple(sorted(labels.items()))] = read

    def forget(self, **labels: str) -> None:
        """Show nothing of a part that is no more: what carries all of these labels."""
        gone = set(labels.items())
        for kept in (self._counters, self._gauges):
            for key in [key for key in kept if gone <= set(key[1])]:
                del kept[key]

    def samples(self) -> Iterator[Sample]:
        """Every value as it is now, sorted by name; a gauge that cannot be read is left out."""
        for (name, labels), counter in sorted(self._counters.items()):
            yield Sample(name, dict(labels), counter.value, "counter", self._help[name])
        for (name, labels), read in sorted(self._gauges.items()):
            try:
                value = read()
            except Exception:  # noqa: BLE001, S112 one part's bug must not take every other number from the pages
                continue
            yield Sample(name, dict(labels), value, "gauge", self._help[name])


State = Literal["starting", "up", "down", "refusing", "stopped"]


@dataclass(slots=True)
class Part:
    """
    How one part fares: a collector, a sink, the writer.

    `beat(within)` is said at the end of every attempt, success or failure alike: the watchdog is fed
    only while every part's next beat is not overdue, so an outage of days restarts nothing and a
    hung loop does.
    """

    kind: Literal["collector", "sink", "spool"]
    name: str
    state: State = "starting"
    reason: str = ""
    since: float = field(default_factory=time.time)
    due: float = float("inf")  # on the monotonic clock; no beat promised yet

    def beat(self, within: float) -> None:
        """An attempt has ended; the next one ends within that many seconds."""
        self.due = time.monotonic() + within

    def become(self, state: State, reason: str = "") -> bool:
        """Take on a state; True when it is another one than before (the moment for a log line)."""
        changed = state != self.state
        if changed:
            self.since = time.time()
        self.state, self.reason = state, reason
        return changed


class Health:
    """How every part fares."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], Part] = {}

    def part(self, kind: Literal["collector", "sink", "spool"], name: str) -> Part:
        """The part of that kind and name, made at first sight."""
        return self.parts.setdefault((kind, name), Part(kind, name))

    def forget(self, kind: str, name: str) -> None:
        """A part that no longer runs is no longer asked for beats."""
        self.parts.pop((kind, name), None)

    def overdue(self) -> list[Part]:
        """The parts whose promised beat did not come."""
        now = time.monotonic()
        return [part for part in self.parts.values() if part.due < now]
