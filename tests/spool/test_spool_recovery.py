"""The spool always opens: whatever happened to its files, and with the loss exact."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from spooling import LAKE, deliver, everything, opened, part, records, run

from agent.record import Run
from agent.spool import Gap, Plan, Reader, State, audit, tail
from agent.spool.frame import Header
from agent.spool.mark import SLOT_BYTES
from agent.spool.scan import File, Window, walk
from agent.spool.segment import HEADER_BYTES

DATA = records(400, size=100)


def fill(state: Path, *, each: int = 20, **changes: int) -> None:
    """400 records in frames of 20."""

    async def main() -> None:
        async with opened(state, **changes) as spool:
            for i in range(0, 400, each):
                await spool.append([part(DATA[i : i + each])])

    run(main)


def segments(state: Path, lane: str = "all") -> list[Path]:
    return sorted((state / "lanes" / lane).glob("*.seg"))


def frames(path: Path) -> list[tuple[int, Header]]:
    with File(path) as file:
        size = path.stat().st_size
        return list(walk(Window(file, size), HEADER_BYTES, size, int(path.stem.split("-")[1], 16)))


def left(state: Path, **changes: int) -> tuple[dict[int, bytes], list[Gap]]:
    async def main() -> tuple[dict[int, bytes], list[Gap]]:
        async with opened(state, **changes) as spool:
            found = await everything(spool.lanes["all"])
            # It takes more in, at indices never given out before.
            head = spool.lanes["all"].head
            await spool.append([part(records(1, 9999))])
            got = await spool.lanes["all"].read(head, 1, 1000)
            assert isinstance(got, Run)
            assert got.records() == records(1, 9999)
            return found

    result: tuple[dict[int, bytes], list[Gap]] = run(main)
    return result


def without(*gone: range) -> dict[int, bytes]:
    return {i: record for i, record in enumerate(DATA) if not any(i in stretch for stretch in gone)}


def test_a_torn_tail_that_was_never_acknowledged_is_no_loss(state: Path) -> None:
    fill(state)
    (path,) = segments(state)
    whole = path.read_bytes()
    for torn in (b"\0" * 5000, whole[HEADER_BYTES : HEADER_BYTES + 700], os.urandom(333), b"\xf6"):
        with_tail = state.with_name("torn")
        shutil.copytree(state, with_tail)
        segments(with_tail)[0].write_bytes(whole + torn)
        assert left(with_tail) == (without(), [])
        shutil.rmtree(with_tail)


def test_every_cut_of_the_tail_costs_exactly_what_the_marks_prove(state: Path) -> None:
    fill(state, each=100)
    (path,) = segments(state)
    whole = path.read_bytes()
    (*_, (start, last)) = frames(path)
    ends = [(offset + header.size, header.end) for offset, header in frames(path)]
    for cut in (0, 1, HEADER_BYTES, start - 1, start, start + 1, start + 115, start + 116, start + last.size - 1):
        copy = state.with_name("cut")
        shutil.copytree(state, copy)
        segments(copy)[0].write_bytes(whole[:cut])
        end = max((end for offset, end in ends if offset <= cut), default=0)
        assert left(copy) == ({i: DATA[i] for i in range(end)}, [Gap(end, 400 - end, State.DAMAGED)])
        shutil.rmtree(copy)


@pytest.mark.parametrize("where", [0, 60, 113, 130, 200, 900, -1])
def test_a_flipped_bit_costs_one_frame_and_says_how_many_records(state: Path, where: int) -> None:
    fill(state)
    (path,) = segments(state)
    offset, header = frames(path)[7]
    data = bytearray(path.read_bytes())
    data[offset + (where if where >= 0 else header.size - 1)] ^= 4
    path.write_bytes(data)
    assert left(state) == (without(range(140, 160)), [Gap(140, 20, State.DAMAGED)])


def test_two_damaged_stretches_are_two_gaps(state: Path) -> None:
    fill(state)
    (path,) = segments(state)
    found = frames(path)
    data = bytearray(path.read_bytes())
    for i in (0, 3, 4, 10):
        data[found[i][0] + 20] ^= 255
    path.write_bytes(data)
    lost = (range(20), range(60, 100), range(200, 220))
    assert left(state) == (without(*lost), [Gap(each.start, len(each), State.DAMAGED) for each in lost])


def test_a_deleted_segment_is_lost_exactly_wherever_it_stood(state: Path) -> None:
    fill(state, segment_bytes=8 << 10)
    count = len(segments(state))
    assert count > 4
    for place in (0, 2, count - 1):
        copy = state.with_name("copy")
        shutil.copytree(state, copy)
        paths = segments(copy)
        bases = [int(path.name[:16], 16) for path in paths] + [400]
        paths[place].unlink()
        gone = range(bases[place], bases[place + 1])
        assert left(copy) == (without(gone), [Gap(gone.start, len(gone), State.DAMAGED)])
        shutil.rmtree(copy)


def test_a_segment_with_a_spoiled_header_still_gives_its_records(state: Path) -> None:
    fill(state)
    (path,) = segments(state)
    path.write_bytes(b"?" * HEADER_BYTES + path.read_bytes()[HEADER_BYTES:])
    assert left(state) == (without(), [])


def test_a_file_that_is_no_segment_is_set_aside(state: Path) -> None:
    fill(state)
    (state / "lanes" / "all" / "holiday.seg").write_bytes(b"picture")
    assert left(state) == (without(), [])
    (aside,) = (state / "damaged").iterdir()
    assert aside.read_bytes() == b"picture"


def test_what_is_set_aside_is_bounded(state: Path) -> None:
    fill(state)
    for i in range(8):
        (state / "lanes" / "all" / f"picture{i}.seg").write_bytes(bytes(50_000))
    assert left(state, segment_bytes=128 << 10) == (without(), [])
    assert len(list((state / "damaged").iterdir())) == 2


def test_damage_is_booked_once_and_the_segment_kept_to_look_at(state: Path) -> None:
    fill(state)
    (path,) = segments(state)
    data = bytearray(path.read_bytes())
    data[frames(path)[5][0] + 150] ^= 1
    path.write_bytes(data)

    async def main() -> None:
        async with opened(state) as spool:
            assert await deliver(spool) == 380
            cursor = spool.cursors("lake")[-1]
            assert (cursor.position, cursor.ledger.delivered, cursor.ledger.damaged) == (400, 380, 20)
            await spool._works.janitor._make_room()
            assert not segments(state)
            assert [one.read_bytes() for one in (state / "damaged").iterdir()] == [bytes(data)]
        assert audit(state).balanced

    run(main)


def test_deleting_a_file_of_a_running_agent_costs_what_was_in_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TAIL_BYTES", 0)  # what is still in memory would not even be lost

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA[:100])])
            segments(state)[0].unlink()
            await spool.append([part(DATA[100:200])])
            found, gaps = await everything(spool.lanes["all"])
            assert found == {i: DATA[i] for i in range(100, 200)}
            assert gaps == [Gap(0, 100, State.DAMAGED)]
            shutil.rmtree(state / "lanes" / "all")
            await spool.append([part(DATA[200:300])])
            found, gaps = await everything(spool.lanes["all"])
            assert found == {i: DATA[i] for i in range(200, 300)}
            assert sum(gap.count for gap in gaps) == 200

    run(main)


def test_a_whole_state_directory_may_go_between_two_runs(state: Path) -> None:
    fill(state)
    ids = {path.stem.split("-")[1] for path in segments(state)}
    shutil.rmtree(state)
    fill(state)
    assert not ids & {path.stem.split("-")[1] for path in segments(state)}
    assert left(state)[1] == []


def planned(state: Path, first: int) -> list[tuple[int, int, int, int]]:
    """The batches a restart finds in flight; then one more record is taken in and delivered under a name."""

    async def main() -> list[tuple[int, int, int, int]]:
        async with opened(state) as spool:
            cursor = spool.cursors("lake")[-1]
            found = [(p.segment, p.first, p.count, p.crc) for p in cursor.plans if not p.state.settled]
            await spool.append([part(records(5, first))])
            at = cursor.planned_end
            got = await cursor.lane.read(cursor.lane.head - 5, 5, 1000)
            assert isinstance(got, Run)
            if at < got.first:
                cursor.book(got.first - at, State.DELIVERED)
            cursor.plan(got.segment_id, got.first, got.count, first)
            await cursor.save()
            return [*found, (got.segment_id, got.first, got.count, first)]

    result: list[tuple[int, int, int, int]] = run(main)
    return result


def test_copies_and_rollbacks_never_give_one_name_to_two_things(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            cursor = spool.cursors("lake")[-1]
            got = await cursor.lane.read(0, 50, 1 << 20)
            assert isinstance(got, Run)
            cursor.plan(got.segment_id, 0, 50, 4711)
            await cursor.save()

    run(main)
    older = state.with_name("older")
    shutil.copytree(state, older)
    twin = state.with_name("twin")
    shutil.copytree(state, twin)
    seen: dict[tuple[int, int, int], int] = {}
    names = planned(state, 1000) + planned(twin, 2000) + planned(state, 3000)
    shutil.rmtree(state)
    shutil.copytree(older, state)  # the rollback
    names += planned(state, 4000)
    shutil.rmtree(state)  # the deletion
    names += planned(state, 5000)
    for segment, first, count, crc in names:
        assert seen.setdefault((segment, first, count), crc) == crc
    assert len({crc for *_, crc in names}) == 6


def test_a_deleted_cursor_is_noticed_and_goes_on_where_the_head_mark_knew_it(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            await deliver(spool, most=150)
        (state / "lanes" / "all" / "lake.cursor").unlink()
        async with opened(state) as spool:
            cursor = spool.cursors("lake")[-1]
            assert (cursor.start, cursor.position, cursor.ledger.sum) == (150, 150, 0)

    run(main)


def spoil(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("harm", [spoil, Path.unlink])
def test_without_a_head_mark_the_cursors_and_segments_still_say_it_all(
    state: Path, harm: Callable[[Path], None]
) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            await deliver(spool, most=150)
        harm(state / "lanes" / "all" / "head")
        async with opened(state) as spool:
            cursor = spool.cursors("lake")[-1]
            assert (cursor.position, cursor.lane.head) == (150, 400)
            assert await deliver(spool) == 250

    run(main)


def test_a_cursor_damaged_beyond_both_slots_is_set_aside(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            await deliver(spool, most=150)
        spoil(state / "lanes" / "all" / "lake.cursor")
        async with opened(state) as spool:
            assert spool.cursors("lake")[-1].position == 150
            assert len(list((state / "damaged").iterdir())) == 1

    run(main)


def test_a_torn_cursor_write_costs_at_most_that_write(state: Path) -> None:
    async def main() -> None:
        path = state / "lanes" / "all" / "lake.cursor"
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            await deliver(spool, most=100)
            before = path.read_bytes()
            await deliver(spool, most=100)
        after = path.read_bytes()
        changed = [
            slot
            for slot in (0, 1)
            if before[slot * SLOT_BYTES :][:SLOT_BYTES] != after[slot * SLOT_BYTES :][:SLOT_BYTES]
        ]
        assert changed
        path.write_bytes(before)  # none of it reached the disk
        async with opened(state) as spool:
            assert spool.cursors("lake")[-1].position == 100

    run(main)


def test_marks_prove_a_head_that_no_segment_reaches(state: Path) -> None:
    """Indices below what a cursor has settled are never given out again."""

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA)])
            await deliver(spool)
        for path in [*segments(state), state / "lanes" / "all" / "head"]:
            path.unlink()
        async with opened(state) as spool:
            assert spool.lanes["all"].head == 400
            await spool.append([part(records(1))])
            assert await deliver(spool) == 1
            assert spool.cursors("lake")[-1].ledger.damaged == 0

    run(main)


@pytest.mark.parametrize("call", ["writev", "fdatasync"])
def test_after_a_write_error_the_group_goes_to_a_new_segment(
    state: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    broken: list[str] = []

    def failing(fd: int, *rest: object) -> object:
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.endswith(".seg"):
            assert name not in broken, "a file that failed is written or synced again"
            if not broken:
                if call == "fdatasync":
                    real(fd)  # what was written may well have reached the disk
                broken.append(name)
                raise OSError(errno.EIO, "input/output error")
        return real(fd, *rest)

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA[:100])])
            monkeypatch.setattr(os, call, failing)
            await spool.append([part(DATA[100:200])])
            monkeypatch.setattr(os, call, real)
            await spool.append([part(DATA[200:])])
            assert broken
            assert spool.closed_reason is None
            assert await everything(spool.lanes["all"]) == (without(), [])
        async with opened(state) as spool:
            assert await everything(spool.lanes["all"]) == (without(), [])
            assert await deliver(spool) == 400
        assert audit(state).balanced

    run(main)


def test_what_a_failed_write_left_behind_is_not_read(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group stands twice on disk: where the sync failed and could not be cut off, and where it went then."""
    real = os.fdatasync
    once = [OSError(errno.EIO, "input/output error")]

    def failing(fd: int) -> None:
        if once and os.readlink(f"/proc/self/fd/{fd}").endswith(".seg"):
            raise once.pop()
        real(fd)

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(DATA[:100])])
            monkeypatch.setattr(os, "fdatasync", failing)
            monkeypatch.setattr(os, "ftruncate", lambda fd, size: None)
            await spool.append([part(DATA[100:200])])
            assert await everything(spool.lanes["all"]) == ({i: DATA[i] for i in range(200)}, [])
        async with opened(state) as spool:
            assert await everything(spool.lanes["all"]) == ({i: DATA[i] for i in range(200)}, [])

    run(main)


def test_what_a_failed_write_left_is_no_loss_where_the_next_segment_is_still_empty(state: Path) -> None:
    """Killed after the new segment was made and before anything was written to it."""
    fill(state)
    (path,) = segments(state)
    offset, header = frames(path)[10]
    (state / "lanes" / "all" / "head").unlink()
    (path.parent / f"{header.base:016x}-00000000000000aa.seg").write_bytes(b"")
    assert left(state) == ({i: DATA[i] for i in range(header.base)}, [])
    assert offset


def test_sectors_that_cannot_be_read_cost_their_frames(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(state)
    (path,) = segments(state)
    offset, _ = frames(path)[10]
    bad = offset // 4096 * 4096
    real = os.pread

    def failing(fd: int, size: int, at: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == str(path) and at < bad + 4096 and at + size > bad:
            raise OSError(errno.EIO, "input/output error")
        return real(fd, size, at)

    touched = [header for at, header in frames(path) if at < bad + 4096 and at + header.size > bad]
    monkeypatch.setattr(os, "pread", failing)
    found, gaps = left(state)
    assert sum(gap.count for gap in gaps) <= 20 * (len(touched) + 2)
    assert set(found) | {i for gap in gaps for i in range(gap.first, gap.first + gap.count)} == set(range(400))
    assert all(found[i] == DATA[i] for i in found)


def test_a_damaged_format_file_does_not_keep_it_from_opening(state: Path) -> None:
    fill(state)
    (state / "format").write_bytes(b"")
    (state / "instance").write_bytes(b"\xff\xfe")
    assert left(state) == (without(), [])
    assert (state / "format").read_text().startswith("1 ")
    assert len((state / "instance").read_text().strip()) == 16


def test_plans_found_again_are_the_same_batches(state: Path) -> None:
    async def main() -> None:
        async with opened(state, LAKE, Reader("file", "all")) as spool:
            await spool.append([part(DATA)])
            cursor = spool.cursors("lake")[-1]
            got = await cursor.lane.read(0, 100, 1 << 20)
            assert isinstance(got, Run)
            plans = [cursor.plan(got.segment_id, i * 25, 25, i) for i in range(4)]
            cursor.settle(plans[2], State.DEAD)
            await cursor.save()
        async with opened(state, LAKE) as spool:
            cursor = spool.cursors("lake")[-1]

            def shape(plan: Plan) -> tuple[int, int, int, State]:
                return plan.first, plan.count, plan.crc if not plan.state.settled else 0, plan.state

            assert [shape(plan) for plan in cursor.plans] == [
                (0, 25, 0, State.MAYBE),
                (25, 25, 1, State.MAYBE),
                (50, 25, 0, State.DEAD),
                (75, 25, 3, State.MAYBE),
            ]
            again = await cursor.lane.read(25, 25, 1 << 20)
            assert isinstance(again, Run)
            assert (again.segment_id, again.records()) == (cursor.plans[1].segment, DATA[25:50])

    run(main)
