"""
The events that stand in the spool beyond what was last written of rules: what a crash would lose otherwise.

Read once, at a start, before anything comes in. After a stop in order there is nothing to read. Rules remember the
rest at most a second after an event, so what is missing stands at the very end of the lanes: no more is read than that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

import msgspec
import structlog

from agent.aside import aside
from agent.events.kept import Lately
from agent.events.rule import SOURCE
from agent.record import Run
from agent.spool import Gap, Lane, Spool

log = structlog.get_logger()

MOST = 64 << 20  # bytes of a lane: more than the fastest intake stores while events wait to be remembered
WITHIN = 10.0  # seconds for all lanes
GRACE = 5.0  # seconds that a read which is under way may take beyond
RECORDS, SIZE = 4096, 1 << 20  # of one read

_MARK = b',"source":"' + SOURCE.encode()
_BEGIN = len(b'{"ts":') + 20 + len(_MARK)  # where the mark of an event ends at the latest


class _Fields(msgspec.Struct):
    state: Literal["firing", "clear"]
    rule: str
    since: int
    of: str


class _Event(msgspec.Struct):
    ts: int
    source: str
    tags: dict[str, str]
    fields: _Fields


_decode = msgspec.json.Decoder(_Event).decode


async def told_since(spool: Spool, heads: Mapping[str, int]) -> list[Lately]:
    """The events of rules in those lanes from those indices on, each once; those of one set of tags in order."""
    lanes = [(spool.lanes[name], head) for name, head in heads.items() if name in spool.lanes]
    begun = [(lane, head) for lane, head in lanes if head < lane.head]
    if not begun:
        return []
    # The lanes of events alone are short: first.
    begun.sort(key=lambda each: each[0].bytes_between(each[1], each[0].head))
    try:
        return await aside(lambda: _read(begun), kind=("events lately told", id(spool)), within=WITHIN + GRACE)
    except OSError as error:
        log.warning("events told lately cannot be read, one may be told again or its end not", reason=str(error))
        return []


def has_other_heads(noted: Mapping[str, int], heads: Mapping[str, int]) -> bool:
    """Whether what was noted does not do for this run: of other lanes, or of records that a power cut took."""
    return noted.keys() != heads.keys() or any(noted[lane] > head for lane, head in heads.items())


def _read(lanes: list[tuple[Lane, int]]) -> list[Lately]:
    until = time.monotonic() + WITHIN
    best: dict[object, list[Lately]] = {}
    for lane, head in lanes:
        found: dict[object, list[Lately]] = {}
        for event in _events(lane, max(head, _tail(lane)), until):
            found.setdefault((event.rule, event.source, frozenset(event.tags.items())), []).append(event)
        for instance, events in found.items():
            # A lane has all events of a set of tags or none; where one has fewer, some of its records are gone.
            if len(events) > len(best.get(instance, ())):
                best[instance] = events
    return [event for events in best.values() for event in events]


def _events(lane: Lane, at: int, until: float) -> list[Lately]:
    found: list[Lately] = []
    while (run := lane.read_now(at, RECORDS, SIZE)) is not None:
        if isinstance(run, Gap):
            at = run.first + run.count
            continue
        at = run.end
        if _MARK in run.body:
            found += [event for record in run.records() if (event := _event(record, run)) is not None]
        if time.monotonic() > until:
            log.warning("events told lately are too many to read", lane=lane.name, unread=lane.head - at)
            break
    return found


def _event(record: bytes, run: Run) -> Lately | None:
    """The record as an event of a rule; None for any other."""
    if _MARK not in record[:_BEGIN]:
        return None
    try:
        read = _decode(record)
    except (ValueError, msgspec.MsgspecError):
        return None  # the agent speaks of itself: `event.agent` has other states
    if read.source != SOURCE + read.fields.rule:
        return None
    arrival = run.newest_ms - run.clock_offset_ms  # by the clock of the run that stored it, as all that is remembered
    return Lately(
        rule=read.fields.rule,
        source=read.fields.of,
        tags=read.tags,
        is_firing=read.fields.state == "firing",
        began=read.fields.since,
        changed=min(read.ts, arrival),
        seen=arrival,
    )


def _tail(lane: Lane) -> int:
    """The index from which on about the last MOST bytes of the lane stand."""
    left = MOST
    for segment in reversed(lane.segments):
        if segment.size > left:
            end = lane.end_of(segment)
            return end - int((end - segment.base) * left / segment.size)
        left -= segment.size
    return lane.first
