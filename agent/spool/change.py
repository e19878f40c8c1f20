"""
Other readers while everything runs: what a start would do for them, over the cursors that there are.

    lanes that are new ─▸ cursors renamed ─▸ each in its place ─▸ all of it on disk ─▸ head marks

What stays as it is, is not touched. A kill in between leaves what a start finds after any other kill: cursors in
lanes, from which it comes to the same places.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.spool import dead, recovery, roster
from agent.spool.cursor import Cursor
from agent.spool.head import mark_of
from agent.spool.lane import Lane
from agent.spool.settings import Reader
from agent.spool.works import Works, trouble_in


async def change(works: Works, readers: Sequence[Reader]) -> None:
    """From now on these read. Raises OSError where that cannot be put on disk; it can be changed back then."""
    readers = [*readers, Reader(dead.SINK, dead.LANE)]
    wanted = {reader.lane for reader in readers}
    keeper, janitor = works.keeper, works.janitor
    async with janitor.moving:
        cursors = janitor.all()
        before, begun = set(cursors), sorted(wanted - works.lanes.keys())
        for name in begun:
            one = await keeper.call(_found, works, name)
            works.lanes[name] = Lane(name, one.directory, one.segments, one.proven, works.clock)
            works.lanes[name].pool = works.pool
            janitor.heads[name], janitor.cursors[name] = one.mark, []
            cursors += roster.loaded({name: one}, works.lanes, keeper.write)
        await roster.rename(readers, cursors, keeper)
        seats = roster.assigned(readers, works.lanes, cursors, keeper.write)
        works.cursors.clear()
        works.cursors.update(seats.cursors)
        works.wanted.clear()
        works.wanted.update(wanted)
        janitor.seat(seats.all(), seats.retired)
        for lane in works.lanes.values():
            # What is not written to any more may go once it is drained, the segment written last with it.
            lane.seal = lane.seal or lane.name not in wanted
        works.writer.kick()
        try:
            await keeper.call(roster.write, [works.lanes[name] for name in wanted], seats.unwritten())
        except OSError:
            _forget(works, [cursor for cursor in seats.all() if cursor not in before], begun)
            raise
        await janitor.write_heads()


def _found(works: Works, name: str) -> recovery.FoundLane:
    """The lane as the disk has it: as a rule there is nothing. Blocks."""
    place = works.state.lanes / recovery.file_name(name)
    if place.is_dir():
        return recovery.lane(place, trouble_in(works.state))
    return recovery.FoundLane(name, place, mark_of(place))


def _forget(works: Works, cursors: Sequence[Cursor], lanes: Sequence[str]) -> None:
    """Of what was to be new, leave nothing that has not come to the disk: the way back is not to need it there."""
    janitor = works.janitor
    for cursor in cursors:
        if cursor.mark.value is None:
            janitor.cursors[cursor.lane.name].remove(cursor)
    for name in lanes:
        if not janitor.cursors[name] and not works.lanes[name].segments:
            del janitor.cursors[name], janitor.heads[name], works.lanes[name]
