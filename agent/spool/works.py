"""What an open spool is made of: put together from a state directory, run, and taken down in order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.spool import dead, recovery, roster
from agent.spool.claims import Claims
from agent.spool.clock import Clock
from agent.spool.cursor import Cursor
from agent.spool.gather import Job
from agent.spool.head import mark_of
from agent.spool.janitor import Janitor
from agent.spool.keeper import Keeper
from agent.spool.lane import Lane
from agent.spool.letters import Letters
from agent.spool.progress import Progress
from agent.spool.readers import Readers
from agent.spool.retired import Retired
from agent.spool.settings import Reader, Settings
from agent.spool.state import StateDirectory
from agent.spool.writer import Report, Writer
from agent.stats import Stats

log = structlog.get_logger()

_JOIN_SECONDS = 10.0  # a sync that hangs longer is left to the end of the process


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told, on the loop."""

    durable: Callable[[list[Job], Mapping[str, int], int], None]
    closed_by_disk: Callable[[str | None], None]
    closed_by_sink: Callable[[str | None], None]
    answer: Callable[[], None]
    beat: Callable[[float], None]  # called by the writer's thread
    group: Callable[[], int]  # asked for the number of the last commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """The parts, and who owns what: the writer its segments, the keeper every mark, the janitor the limits."""

    state: StateDirectory
    lanes: dict[str, Lane]
    cursors: dict[str, list[Cursor]]  # by sink, former lanes first
    wanted: set[str]  # lanes that are written to
    group: int  # number of the last commit found
    clock: Clock
    claims: Claims
    keeper: Keeper
    pool: Readers
    writer: Writer
    janitor: Janitor
    drain: dead.Drain
    letters: Letters


async def assemble(
    state: StateDirectory,
    settings: Settings,
    readers: Sequence[Reader],
    stats: Stats,
    tell: Listener,
    progress: Progress,
) -> Works:
    """Read the state directory and make everything ready to run."""
    keeper = Keeper(settings.durability)
    pool = Readers()
    closed = await keeper.call(_prepare, state)

    found = await keeper.call(recovery.lanes, state.lanes, trouble_in(state), progress)
    if found and settings.durability != "none":
        await keeper.call(_sync, state, found, progress)
    readers = [*readers, Reader(dead.SINK, dead.LANE)]
    wanted = {reader.lane for reader in readers}
    roster.restore(readers, found.values())
    claims = await keeper.call(Claims.recovered, found, progress)
    clock = Clock(max((one.head.wall_ms for one in found.values()), default=0))
    if not clock.credible():
        log.warning("the wall clock is not believed", now_ms=clock.now(), seen_before_ms=clock.known_ms)
    lanes: dict[str, Lane] = {}
    for name in sorted({*found, *wanted}):
        one = found.get(name) or recovery.FoundLane(
            name, (place := state.lanes / recovery.file_name(name)), mark_of(place)
        )
        lanes[name] = Lane(name, one.directory, one.segments, one.proven, clock)
        lanes[name].pool = pool
    present = roster.loaded(found, lanes, keeper.write)
    await roster.rename(readers, present, keeper)
    seats = roster.assigned(readers, lanes, present, keeper.write)
    cursors = seats.cursors
    by_lane: dict[str, list[Cursor]] = {name: [] for name in lanes}
    for cursor in seats.all():
        by_lane[cursor.lane.name].append(cursor)
    letters = Letters(
        state.dead_letters,
        max_bytes=settings.dead_max_bytes,
        max_age=settings.dead_max_age,
        sync=settings.durability == "strict",
        now=time.time,
    )
    drain = dead.Drain(cursors[dead.SINK][-1], letters, keeper, stats)
    janitor = Janitor(
        lanes=lanes,
        cursors=by_lane,
        heads={name: found[name].mark if name in found else mark_of(lanes[name].directory) for name in lanes},
        wanted=wanted,
        retired=Retired(seats.retired, clock, settings.retire_after),
        settings=settings,
        state=state,
        keeper=keeper,
        clock=clock,
        stats=stats,
        kick=lambda: writer.kick(),  # noqa: PLW0108 - each of the two knows the other
        blocked=tell.closed_by_sink,
        claims=lambda: (tell.group(), *claims.persistent(tell.group())),
        empty={dead.LANE: drain.give_up},
    )
    writer = Writer(
        lanes=lanes,
        state=state,
        settings=settings,
        clock=clock,
        loop=asyncio.get_running_loop(),
        report=Report(
            durable=tell.durable,
            closed=tell.closed_by_disk,
            crowded=janitor.crowded,
            sealed=janitor.wake,
            answer=tell.answer,
        ),
        beat=tell.beat,
        hindrance=janitor.hindrance,
        group=max((one.group for one in found.values()), default=0),
        closed=closed,
    )
    tell.closed_by_disk(closed)
    try:
        await keeper.call(roster.write, lanes.values(), seats.unwritten())
    except OSError as error:
        log.warning("spool cannot make all its files yet", reason=str(error))
    return Works(
        state=state,
        lanes=lanes,
        cursors=cursors,
        wanted=wanted,
        group=writer.group,
        clock=clock,
        claims=claims,
        keeper=keeper,
        pool=pool,
        writer=writer,
        janitor=janitor,
        drain=drain,
        letters=letters,
    )


def trouble_in(state: StateDirectory) -> recovery.Trouble:
    """What is done about damage in the directory: it is said, and what cannot be read is set aside."""

    def trouble(path: Path, text: str, aside: bool) -> None:
        log.error("damage found", file=str(path), problem=text)
        if aside:
            state.set_aside(path)

    return trouble


@asynccontextmanager
async def running(works: Works) -> AsyncIterator[None]:
    """Run the threads and tasks; on the way out write what was appended, as far as the disk takes it."""
    await works.janitor.sweep()
    await works.janitor.write_heads()
    thread = threading.Thread(target=works.writer.run, name="spool-writer", daemon=True)
    thread.start()
    tasks = [
        asyncio.create_task(_kept_up("janitor", works.janitor.run), name="spool janitor"),
        asyncio.create_task(_kept_up("dead letters", works.drain.run), name="dead letters"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        works.writer.stop()
        await asyncio.to_thread(thread.join, _JOIN_SECONDS)
        if thread.is_alive():
            log.error("the spool's writer hangs; what it holds was never acknowledged")
        await asyncio.sleep(0)  # what the writer said last is heard
        await _wind_down(works)


async def _wind_down(works: Works) -> None:
    try:
        await works.drain.finish()
    except OSError as error:
        log.warning("dead letters wait in the spool", reason=str(error))
    except Exception:
        # A bug: they wait as well, and everybody's cursors are still to be written.
        log.exception("dead letters wait in the spool")
    finally:
        await _put_away(works)


async def _put_away(works: Works) -> None:
    works.keeper.closing()
    cursors = [cursor for some in works.janitor.cursors.values() for cursor in some]
    for cursor in cursors:
        if cursor.dirty or cursor.saving:
            await cursor.begin_save()
    try:
        await works.keeper.sync()
    except OSError as error:
        log.error("cursors may fall back in a power cut", reason=str(error))
    await works.janitor.write_heads()
    works.letters.close()
    for mark in [*works.janitor.heads.values(), *(cursor.mark for cursor in cursors)]:
        mark.close()
    await asyncio.to_thread(works.keeper.close)
    await asyncio.to_thread(works.pool.shutdown)


def _prepare(state: StateDirectory) -> str | None:
    try:
        state.prepare()
    except OSError as error:
        reason = f"cannot write to {state.path}: {error.strerror or error}"
        log.error("spool takes nothing in", reason=reason)
        return reason
    return None


def _sync(state: StateDirectory, found: Mapping[str, recovery.FoundLane], progress: Progress) -> None:
    try:
        recovery.sync(state.lanes, found.values(), progress)
    except OSError as error:
        log.error("records may be lost in a power cut", directory=str(state.path), reason=str(error))


async def _kept_up(name: str, run: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await run()
        except Exception:
            # A bug: it is said with its trace, and must not end the keeping of limits for good.
            log.exception("failed, goes on", part=name)
            await asyncio.sleep(1.0)
