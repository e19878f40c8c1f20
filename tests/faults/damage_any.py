"""
Random damage to any file of a spool, in this process: thousands of times, each held against what is left by the format.

    a spool, stopped or killed ─▸ one to three harms ─▸ survivors.py says what is left
                                                     └▸ it opens, reads, delivers and books exactly that
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from spool.spooling import dead, everything, letter, opened, part, records, temporary
from structlog.testing import capture_logs

from agent.record import Run
from agent.spool import Cursor, Gap, Reader, Spool, State, books
from faults import damaging, survivors

READERS = (Reader("lake", "all"), Reader("file", "all"), Reader("notes", "few"))
LIMITS: Mapping[str, int] = {"segment_bytes": 6 << 10, "max_bytes": 1 << 20}
TEMPLATES = 8
MOST_HARMS = 3


@dataclass(frozen=True, slots=True)
class Template:
    """A spool with a backlog, and what is true of it."""

    files: dict[str, bytes]
    lanes: dict[str, list[bytes]]  # every record that was acknowledged, by index
    taken: dict[str, set[int]]  # by sink: delivered
    frames: list[tuple[str, range]]  # of all lanes
    instance: str
    is_orderly: bool  # stopped, not killed


@dataclass(slots=True)
class Trial:
    """What one cost."""

    harms: list[str] = field(default_factory=list)
    sent: int = 0
    stored: int = 0
    lost: int = 0
    told: int = 0  # of these, booked as damaged
    unknown: int = 0  # of these, beyond what anything names
    again: int = 0  # booked as damaged, but delivered before, by a cursor that was damaged too


@cache
def template(number: int) -> Template:
    """The same for the same number."""
    rng = Random(number)
    truth: dict[str, list[bytes]] = {"all": [], "few": []}
    is_orderly = number % 4 > 0
    with temporary() as name:
        state = Path(name) / "state"

        async def fill() -> dict[str, bytes]:
            async with opened(state, *READERS, **LIMITS) as spool:
                for _ in range(rng.randint(15, 25)):
                    parts = []
                    for origin in ("plant", "barn")[: rng.randint(1, 2)]:
                        for lane, count in (("all", rng.randint(1, 15)), ("few", rng.randint(0, 5))):
                            data = records(count, len(truth[lane]), rng.randint(40, 200))
                            truth[lane] += data
                            parts.append(part(data, lane, origin))
                    if rng.random() < 0.2:
                        parts.append(dead(letter(f"a-{len(truth['all'])}")))
                    await spool.append(parts)
                for cursor in _own(spool):
                    await _deliver_some(cursor, rng)
                await spool._works.janitor._make_room()
                return {} if is_orderly else _files(state)

        left = asyncio.run(fill()) or _files(state)
        directories = sorted((state / "lanes").iterdir())
        found = [survivors.lane(directory) for directory in directories]
        frames = [
            (lane.name, range(frame.base, frame.end))
            for lane in found
            for _, some in lane.segments.values()
            for frame in some
        ]
        taken = {
            sink: set(_settled(lane.cursors[sink])) for lane in found for sink in lane.cursors if lane.name in truth
        }
        return Template(left, truth, taken, frames, (state / "instance").read_text().strip(), is_orderly)


def _own(spool: Spool) -> list[Cursor]:
    return [spool.cursors(reader.sink)[-1] for reader in READERS]


def _files(state: Path) -> dict[str, bytes]:
    return {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*") if path.is_file()}


async def _deliver_some(cursor: Cursor, rng: Random) -> None:
    """A part is settled, and of some batches behind it nobody knows."""
    plans = []
    while cursor.planned_end < cursor.lane.head * rng.random():
        got = await cursor.lane.read(cursor.planned_end, rng.randint(5, 40), 1 << 20)
        assert isinstance(got, Run)
        plans.append(cursor.plan(got.segment_id, got.first, got.count, 0))
        await cursor.save()
    for plan in plans:
        if rng.random() < 0.8:
            cursor.settle(plan, State.DELIVERED)
    await cursor.save()


def _settled(cursor: Mapping[str, Any]) -> Iterator[int]:
    yield from range(cursor["position"])
    at = cursor["position"]
    for _, count, _, state in cursor["plans"]:
        if state in survivors.SETTLED:
            yield from range(at, at + count)
        at += count


def trial(seed: str) -> Trial:
    """One, in a directory of its own. Raises AssertionError with the seed and what was done."""
    rng = Random(seed)
    of = template(rng.randrange(TEMPLATES))
    out = Trial()
    try:
        with temporary() as name:
            state = Path(name) / "state"
            for path, data in of.files.items():
                (state / path).parent.mkdir(parents=True, exist_ok=True)
                (state / path).write_bytes(data)
            for _ in range(rng.choice((1, 1, *range(1, MOST_HARMS + 1)))):
                out.harms.append(_harm(state, rng))
            _judge(of, state, out)
    except Exception as error:
        raise AssertionError(f"trial {seed}: {'; '.join(out.harms)}: {type(error).__name__}: {error}") from error
    return out


def _harm(state: Path, rng: Random) -> str:
    some = sorted(path for path in state.rglob("*") if path.is_file())
    kind = rng.choice((".seg", ".seg", ".cursor", "head", ""))
    path = rng.choice([path for path in some if path.name.endswith(kind)] or some)
    if rng.random() < 0.75:
        done = rng.choice(damaging.ALONE)(path, rng)
    else:
        # With a file of its kind, mostly.
        alike = [one for one in some if one.suffix == path.suffix and one != path]
        others = alike if alike and rng.random() < 0.7 else [one for one in some if one != path]
        done = rng.choice(damaging.AMONG)(path, others, rng)
    return f"{path.relative_to(state)}: {done}"


def _judge(of: Template, state: Path, out: Trial) -> None:
    left = {path.name: survivors.lane(path) for path in sorted((state / "lanes").iterdir())}
    for name, records_of in of.lanes.items():
        for index, record in left[name].records.items():
            assert record == records_of[index], f"{name} {index}: the format itself lets this pass"
    expected = {reader.sink: _missing(left[reader.lane], reader.sink) for reader in READERS}
    assert not (any(expected.values()) and books._look(state).balanced), "the audit sees nothing"
    with capture_logs() as said:
        found = asyncio.run(_open(of, state, left))
    lost: set[tuple[str, int]] = set()
    beyond: set[tuple[str, int]] = set()  # lost, and nothing that is left names it
    for reader in READERS:
        delivered, booked = found[reader.sink]
        assert booked == expected[reader.sink], f"{reader.sink}: {_short(booked)} for {_short(expected[reader.sink])}"
        sent = set(range(len(of.lanes[reader.lane])))
        missing = sent - of.taken[reader.sink] - delivered
        assert all(i >= left[reader.lane].named for i in missing - booked), f"{reader.sink}: {_short(missing - booked)}"
        lost |= {(reader.lane, index) for index in missing}
        beyond |= {(reader.lane, index) for index in missing - booked}
        out.sent += len(sent)
        out.stored += len(sent - missing)
        out.lost += len(missing)
        out.told += len(missing & booked)
        out.unknown += len(missing - booked)
        out.again += len(booked - missing)
    if of.is_orderly and beyond:
        assert len(out.harms) > 1 or "swapped" in out.harms[0], "one file, and nobody knows what was lost"
        assert any("unknown" in str(line.get("problem")) for line in said), "what nobody names is lost without a word"
    if len(out.harms) == 1 and "flipped" in out.harms[0]:
        assert not lost or any(lost <= {(lane, index) for index in some} for lane, some in of.frames), "not one frame"
    after = books._look(state)
    # What one sink had settled and another misses is named for both, until its segment is gone.
    unbalanced = [text for text in map(str, after.findings) if not re.search("^dead|settled records are gone", text)]
    assert not unbalanced, unbalanced
    for cursor in after.cursors:
        assert cursor.head - cursor.start == cursor.ledger.sum + cursor.queued, cursor


def _missing(lane: survivors.Lane, sink: str) -> set[int]:
    """What the sink is to be told of: of what is still before it, all that cannot be read."""
    position = lane.position(sink)
    if position is None:
        position = min((base for base, _ in lane.segments.values()), default=lane.named)
    settled = set(_settled(lane.cursors[sink])) if sink in lane.cursors else set()
    return set(range(position, lane.named)) - lane.records.keys() - settled


async def _open(of: Template, state: Path, left: Mapping[str, survivors.Lane]) -> dict[str, tuple[set[int], set[int]]]:
    """Everything that can be read is what is left; by sink, what is delivered and what is booked as damaged."""
    out = {}
    async with asyncio.timeout(30), opened(state, *READERS, **LIMITS) as spool:
        assert spool.instance == of.instance
        for name, lane in spool.lanes.items():
            if name not in left:
                continue
            assert lane.head == left[name].named, f"{name}: {lane.head} for {left[name].named}"
            found, _ = await everything(lane)
            assert found == left[name].records, f"{name}: {_short(set(found) ^ left[name].records.keys())}"
        for cursor in _own(spool):
            damaged = cursor.ledger.damaged
            delivered, reported = await _settle(cursor)
            assert cursor.ledger.damaged - damaged == len(reported)
            out[cursor.sink] = delivered, reported
        for name in of.lanes:
            head = spool.lanes[name].head
            await spool.append([part(records(1, 10_000), name)])
            got = await spool.lanes[name].read(head, 1, 1 << 20)
            assert isinstance(got, Run)
            assert got.records() == records(1, 10_000)
        for cursor in _own(spool):
            delivered, reported = await _settle(cursor)
            assert (len(delivered), reported) == (1, set())
    return out


async def _settle(cursor: Cursor) -> tuple[set[int], set[int]]:
    """Deliver what can be read, batches with a name first."""
    delivered: set[int] = set()
    reported: set[int] = set()

    async def stretch(at: int, end: int) -> list[tuple[int, int, State]]:
        out = []
        while at < end:
            got = await cursor.lane.read(at, end - at, 1 << 20)
            assert got is not None
            count = min(got.count, end - at)
            state = got.state if isinstance(got, Gap) else State.DELIVERED
            (reported if isinstance(got, Gap) else delivered).update(range(at, at + count))
            out.append((at, count, state))
            at += count
        return out

    for plan in [plan for plan in cursor.plans if not plan.state.settled]:
        pieces = await stretch(plan.first, plan.end)
        made = cursor.replace(plan, [(first, count, 0) for first, count, _ in pieces])
        for child, (_, _, state) in zip(made, pieces, strict=True):
            cursor.settle(child, state)
    for _, count, state in await stretch(cursor.planned_end, cursor.lane.head):
        cursor.book(count, state)
    await cursor.save()
    return delivered, reported


def _short(some: set[int]) -> str:
    return f"{len(some)} from {min(some)} to {max(some)}" if some else "none"
