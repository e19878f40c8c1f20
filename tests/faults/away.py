"""A whole agent and three clouds that are all away, in simulated time: what is asked of them meanwhile, and said."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from e2e.clouds import TENANT, Inside, cw_key, schema_table
from e2e.scene import AGENT

from agent.sandbox import faults
from agent.sandbox.ncloud import troubles

HOUR, DAY = 3600.0, 86_400.0
SINKS = ("lake", "insight", "notes")
ENDS, LINES = 20, 180  # of the log: for the beginning and the end of it all, and for a day between
PAUSE = 30.0  # seconds between two tries, on average, once the backoff has grown
# A broker may come and go, and what is lost is told in good time; the lines of a day are counted as well.
OFTEN = ("mqtt connected", "mqtt disconnected", "mqtt cannot connect", "records refused")
TOLD = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log at INFO or above."""

    at: float  # wall clock
    event: str
    said: dict[str, Any]

    @property
    def of(self) -> tuple[str, ...]:
        """What it is about."""
        return (self.event, *(str(self.said.get(key)) for key in ("sink", "collector", "part", "file", "far_side")))


@contextmanager
def heard() -> Iterator[list[Line]]:
    """The lines that the agent says in the block, with their times; none is printed."""
    lines: list[Line] = []

    def hear(_logger: Any, level: str, event: dict[str, Any]) -> dict[str, Any]:
        if level in TOLD:
            lines.append(Line(time.time(), event.pop("event"), event))
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    former = list(processors)
    processors[:] = [hear]  # in place: loggers that were used before hold this very list
    try:
        yield lines
    finally:
        processors[:] = former


def too_often(lines: list[Line], apart: float = HOUR) -> list[str]:
    """What was said of one thing twice within an hour."""
    last: dict[tuple[str, ...], float] = {}
    found = []
    for line in lines:
        if line.at - last.get(line.of, -apart) < apart - 1:
            found.append(f"said twice within {line.at - last[line.of]:.0f} s: {line.event} {line.said}")
        last[line.of] = line.at
    return found


def ill_said(lines: list[Line], seconds: float, back: float) -> list[str]:
    """
    What is wrong with the log of an outage of all sinks: a thing that was said twice within an hour of it, or an
    episode that was not told from its beginning to its end (`back`), with its length and its counts.
    """
    found = too_often([line for line in lines if line.at < back and not line.event.startswith(OFTEN)])
    for sink in SINKS:
        of = [line for line in lines if line.said.get("sink") == sink]
        told = [line for line in of if line.event in ("sink down", "sink up again")]
        if [line.event for line in told] != ["sink down", "sink up again"]:
            found.append(f"{sink}: told {[line.event for line in told]}")
            continue
        end = told[1].said
        if not 0.9 * seconds <= end["seconds"] <= seconds + 300 or end["tries"] < seconds / PAUSE / 2:
            found.append(f"{sink}: its episode ends with {end}")
        reminders = sum(line.event == "sink has not recovered" for line in of)
        if abs(reminders - end["seconds"] // HOUR) > 1:
            found.append(f"{sink}: {reminders} reminders in {end['seconds'] / HOUR:.1f} h")
    return found


def config(far: Inside, folder: Path, source: str, *, collectors: str, spool: str = "") -> str:
    """An agent whose records of that source go to all three: `uid` names a record, `n` is its number."""
    select = f'select = ["{source}"]\n'
    return f'{AGENT}{collectors}[spool]\ndirectory = "{folder / "state"}"\ndurability = "none"\n{spool}' + far.sinks(
        folder,
        lake=select,
        insight=f"timestamp = true\n{select}",
        notes=f'{select}what = "{{fields.uid}}"\nrate = 600',
        schemas=schema_table(0, v=f'"{source}.n"'),
    )


def uids(far: Inside) -> dict[str, Counter[str]]:
    """How often each cloud has stored each record."""
    rows: Counter[str] = Counter()
    for row in far.insight.stored(cw_key(0)):
        rows[f"m-{float(row.metrics['v']):.0f}"] += 1
    return {
        "lake": far.lake_uids(),
        "insight": rows,
        "notes": Counter(each.what for each in far.notes.events(TENANT) if each.what),
    }


@dataclass
class Away:
    """All three clouds away at once, and how often they were asked meanwhile."""

    far: Inside
    asked: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """From now on."""
        self._forget()
        self.far.lake.faults.add(faults.unavailable())
        self.far.insight.faults.add(troubles.gateway("500"))
        self.far.notes.faults.add(faults.unavailable())

    def end(self) -> None:
        """They are back."""
        self.count()
        for cloud in (self.far.lake, self.far.insight, self.far.notes):
            cloud.faults.clear()

    def count(self) -> None:
        """Take down what has come since the last time. The clouds' own books of it would grow without end."""
        for sink, requests in self._books():
            self.asked[sink] += len(requests)
            requests.clear()

    def _forget(self) -> None:
        for _, requests in self._books():
            requests.clear()

    def _books(self) -> list[tuple[str, list[Any]]]:
        far = self.far
        return [
            (sink, cloud.ledger.requests) for sink, cloud in zip(SINKS, (far.lake, far.insight, far.notes), strict=True)
        ]


async def until(condition: Callable[[], object], what: str, within: float) -> None:
    """Wait for it, in simulated seconds."""
    try:
        async with asyncio.timeout(within):
            while not condition():
                await asyncio.sleep(1)  # of the simulated clock, between two looks
    except TimeoutError:
        raise AssertionError(f"{what}: not within {within:.0f} simulated seconds") from None


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
