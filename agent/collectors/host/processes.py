"""`host.processes`: how many processes there are, by what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from agent.collectors.host.readings import Fields
from agent.collectors.host.tree import Tree

STATES = {
    b"R": "running",
    b"S": "sleeping",
    b"D": "blocked",
    b"Z": "zombies",
    b"X": "dead",
    b"x": "dead",
    b"T": "stopped",
    b"t": "stopped",
    b"W": "paging",
    b"I": "idle",
    b"P": "parked",
}
THREADS = 17  # the place of the thread count after the name
FRESH = 0.5  # seconds; two groups of a tick ask within milliseconds


def stats(tree: Tree) -> Iterator[bytes]:
    """The `stat` file of every process: the dearest thing to read, about 10 µs a process."""
    top = tree.path("/proc")
    for name in os.listdir(top):
        if name.isdecimal():
            try:
                file = os.open(f"{top}/{name}/stat", os.O_RDONLY)
            except OSError:
                continue  # it has ended meanwhile
            try:
                yield os.read(file, 4096)
            except OSError:
                continue
            finally:
                os.close(file)


class Passes:
    """
    Hands the same pass over the processes to each group that asks for one within a tick.

    While one group alone asks, nothing is kept.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._groups: set[str] = set()
        self._waiting: set[str] = set()  # the groups that have not yet been given what is kept
        self._kept: list[bytes] = []
        self._when = 0.0

    def stats(self, group: str) -> Iterable[bytes]:
        """The `stat` file of every process, for that group."""
        self._groups.add(group)
        if len(self._groups) == 1:
            return stats(self._tree)
        if group not in self._waiting or time.monotonic() - self._when > FRESH:
            self._kept, self._when, self._waiting = list(stats(self._tree)), time.monotonic(), set(self._groups)
        kept = self._kept
        self._waiting.discard(group)
        if not self._waiting:
            self._kept = []
        return kept


def count(stats: Iterable[bytes]) -> Fields:
    """The fields of `host.processes` out of the text of many /proc/<pid>/stat. Raises ValueError."""
    fields: Fields = dict.fromkeys((*STATES.values(), "unknown", "total", "total_threads"), 0)
    for stat in stats:
        # A name may hold blanks and brackets of its own; what follows it does not.
        rest = stat[stat.rfind(b")") + 1 :].split()
        if len(rest) <= THREADS:
            continue  # ended while it was read
        fields[STATES.get(rest[0], "unknown")] += 1
        fields["total"] += 1
        fields["total_threads"] += int(rest[THREADS])
    return fields
