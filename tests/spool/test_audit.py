"""The audit: silent while the books balance, and by name when something went behind the agent's back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from spooling import LAKE, deliver, letter, opened, part, records, run, until
from spooling import dead as dead_part
from test_spool_recovery import frames, segments

from agent.errors import StateTooNew
from agent.spool import Gap, Reader, State, audit, books
from agent.spool.letter_files import files

BOTH = (LAKE, Reader("file", "all"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_PAUSE_SECONDS", 0.01)


def fill(state: Path, *, delivered: int = 150, buried: int = 5) -> None:
    """400 records in frames of 20; the lake has taken some and refused others, the file has taken none."""

    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            for i in range(0, 400, 20):
                await spool.append([part(records(20, i, 100))])
            await deliver(spool, "lake", most=delivered)
            cursor = spool.cursors("lake")[-1]
            await spool.append([dead_part(*(letter(f"a-{i}") for i in range(buried)))])
            cursor.book(buried, State.DEAD)
            await cursor.save()

    run(main)


def culprits(state: Path) -> set[str]:
    return {finding.sink for finding in audit(state).findings}


def cut(state: Path, number: int) -> None:
    """Remove one frame, as if it had never been there."""
    (path,) = segments(state)
    offset, header = frames(path)[number]
    data = path.read_bytes()
    path.write_bytes(data[:offset] + data[offset + header.size :])


def test_it_balances_and_says_what_there_is(state: Path) -> None:
    fill(state)
    report = audit(state)
    assert report.balanced, report.findings
    lake, file = (next(one for one in report.cursors if one.sink == sink) for sink in ("lake", "file"))
    assert (lake.position, lake.head, lake.queued, lake.ledger.delivered, lake.ledger.dead) == (155, 400, 245, 150, 5)
    assert (file.position, file.queued) == (0, 400)
    assert report.dead_letters == {"lake": 5}
    assert len(report.instance) == 16


def test_it_changes_nothing_and_needs_no_lock(state: Path) -> None:
    fill(state)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.rglob("*") if path.is_file()}
    audit(state)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in state.rglob("*") if path.is_file()}


def test_a_removed_frame_is_named_by_every_sink_that_wanted_it(state: Path) -> None:
    fill(state)
    cut(state, 15)
    assert culprits(state) == {"lake", "file"}
    assert any("20 records from 300 on" in finding.text for finding in audit(state).findings)


def test_a_removed_frame_that_one_sink_had_settled_is_named_for_both_with_the_reason(state: Path) -> None:
    fill(state)
    cut(state, 2)
    texts = {finding.sink: finding.text for finding in audit(state).findings}
    assert set(texts) == {"lake", "file"}
    assert "neither settled nor booked" in texts["file"]
    assert "settled records are gone" in texts["lake"]


def test_the_last_frame_and_the_last_segment_are_missed_too(state: Path) -> None:
    fill(state)
    cut(state, 19)
    assert culprits(state) >= {"lake", "file"}
    segments(state)[0].unlink()
    assert culprits(state) >= {"lake", "file"}


def test_the_last_frame_is_missed_where_everything_was_settled(state: Path) -> None:
    fill(state, delivered=395)

    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            await deliver(spool, "file")

    run(main)
    assert audit(state).balanced
    cut(state, 19)
    assert culprits(state) == {"lake", "file"}


def test_a_removed_cursor_is_named(state: Path) -> None:
    fill(state)
    (state / "lanes" / "all" / "file.cursor").unlink()
    assert culprits(state) == {"file"}


def test_a_spoiled_cursor_is_named(state: Path) -> None:
    fill(state)
    path = state / "lanes" / "all" / "lake.cursor"
    path.write_bytes(bytes(path.stat().st_size))
    assert "lake" in culprits(state)


@pytest.mark.parametrize("which", [0, 2, -1])
def test_a_removed_dead_letter_is_named_by_its_sink(state: Path, which: int) -> None:
    fill(state)
    (path,) = files(state / "dead-letters")
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[which]
    path.write_bytes(b"".join(lines))
    report = audit(state)
    assert "lake" in {finding.sink for finding in report.findings}
    assert any("are gone" in finding.text for finding in report.findings)


def test_dead_letters_on_their_way_count(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(records(3))])
            await spool._works.drain._busy.acquire()  # the drain is slow
            await spool.append([dead_part(letter("a-0"), letter("a-1"))])
            cursor = spool.cursors("lake")[-1]
            cursor.book(2, State.DEAD)
            await cursor.save()
            report = audit(state)
            assert report.balanced, report.findings
            assert report.dead_letters == {"lake": 2}
            spool._works.drain._busy.release()

    run(main)
    assert audit(state).balanced


def test_a_removed_letter_of_a_renamed_sink_is_named_under_its_present_name(state: Path) -> None:
    fill(state)

    async def main() -> None:
        async with opened(state, Reader("pond", "all", was="lake"), BOTH[1]):
            pass

    run(main)
    assert audit(state).balanced
    (path,) = files(state / "dead-letters")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert "pond" in culprits(state)


def test_damage_that_is_booked_balances_again(state: Path) -> None:
    fill(state)
    cut(state, 15)
    assert not audit(state).balanced

    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            await deliver(spool, "lake")
            await deliver(spool, "file")

    run(main)
    report = audit(state)
    assert report.balanced, report.findings
    assert {one.ledger.damaged for one in report.cursors if one.lane == "all"} == {20}


def test_damage_met_but_not_yet_behind_the_cursor_balances(state: Path) -> None:
    fill(state)
    cut(state, 15)

    async def main() -> None:
        async with opened(state, *BOTH) as spool:
            for sink in ("lake", "file"):
                cursor = spool.cursors(sink)[-1]
                while cursor.planned_end < 400:
                    got = await cursor.lane.read(cursor.planned_end, 100, 1 << 20)
                    if isinstance(got, Gap):
                        cursor.book(got.count, got.state)
                    else:
                        assert got is not None
                        cursor.plan(got.segment_id, got.first, got.count, 0)

    run(main)
    report = audit(state)
    assert report.balanced, report.findings


def test_it_balances_beside_an_agent_at_work(state: Path) -> None:
    async def main() -> None:
        async with opened(state, *BOTH, max_bytes=1 << 20, segment_bytes=128 << 10) as spool:

            async def write() -> None:
                i = 0
                while True:
                    await spool.append([part(records(50, i, 500)), dead_part(letter(None))])
                    i += 50

            async def send(sink: str) -> None:
                while True:
                    await deliver(spool, sink, most=500)
                    await asyncio.sleep(0)

            tasks = [asyncio.create_task(work) for work in (write(), send("lake"))]
            await until(lambda: spool.cursors("lake")[-1].position > 2000)
            for _ in range(6):
                report = await asyncio.to_thread(audit, state)
                assert report.balanced, report.findings
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(main)
    assert audit(state).balanced


def test_a_newer_format_and_an_absent_directory_are_said_so(state: Path) -> None:
    with pytest.raises(FileNotFoundError):
        audit(state)
    fill(state)
    (state / "format").write_text("7 8.0\n")
    with pytest.raises(StateTooNew, match="format 7"):
        audit(state)
