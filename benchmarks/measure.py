"""
What processes have used so far: CPU, memory, bytes written, for a process and all below it.

CPU is the kernel's clock of each process, in ns and with the threads that have ended; only children that have
ended are counted in ticks. Memory is the sum of each process's own peak, which may be more than they ever had
at one moment.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_TICK = os.sysconf("SC_CLK_TCK")
_CPU_CLOCK = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a tree of processes has used since it was started, and the most memory it had."""

    cpu_s: float
    peak_rss: int
    written: int

    def since(self, earlier: Usage) -> Usage:
        """What was used after that; the peak is the peak all the same."""
        cpu_s, written = self.cpu_s - earlier.cpu_s, self.written - earlier.written
        return Usage(cpu_s=cpu_s, peak_rss=self.peak_rss, written=written)


def usage(pid: int) -> Usage:
    """Now, for that process and all below it."""
    pids = tree(pid)
    return Usage(
        cpu_s=sum(map(cpu, pids)),
        peak_rss=sum(_status(one, "VmHWM") for one in pids) * 1024,
        written=sum(map(_written, pids)),
    )


def cpu(pid: int) -> float:
    """Seconds of CPU of one process, with its ended threads, and its children that have ended."""
    try:
        own = time.clock_gettime((~pid << 3) | _CPU_CLOCK)
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:  # it has ended, and is in its parent's figures
        return 0.0
    return own + (int(fields[13]) + int(fields[14])) / _TICK


def rss(pid: int) -> int:
    """Bytes of memory of a process and all below it, at this moment."""
    return sum(_status(one, "VmRSS") for one in tree(pid)) * 1024


@contextmanager
def rss_watched(pid: int, every: float = 5.0) -> Iterator[list[int]]:
    """A list that grows by the memory of a tree of processes every so many seconds."""
    values: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every):
            values.append(rss(pid))

    watcher = threading.Thread(target=watch, name="rss")
    watcher.start()
    try:
        yield values
    finally:
        done.set()
        watcher.join()


def growth(values: list[int]) -> int | None:
    """From the second tenth, when all is warm, to the last: the difference of their medians. None for too few."""
    tenth = len(values) // 10
    if tenth < 2:
        return None
    return int(statistics.median(values[-tenth:]) - statistics.median(values[tenth : 2 * tenth]))


def tree(root: int) -> list[int]:
    """That process and all below it."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels, from the agent's /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.partition(" ")[0].partition("{")[0] == name]
    if not found:
        raise LookupError(f"/metrics of port {port} has no {name}")
    return sum(map(float, found))


def machine_busy() -> float:
    """Seconds of CPU that everything on this machine has used."""
    with open("/proc/stat", "rb") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq + steal) / _TICK


def _status(pid: int, name: str) -> int:
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(name + ":")), 0)
    except OSError:
        return 0


def _written(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("write_bytes:"))
    except OSError:
        return 0
