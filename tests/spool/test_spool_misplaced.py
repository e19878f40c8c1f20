"""Files of a spool that say something else than their place: copies, swaps, and what a flipped byte makes of a name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from spooling import LAKE, deliver, everything, opened, part, records, run
from structlog.testing import capture_logs
from test_spool_recovery import frames, segments

from agent.errors import StateTooNew
from agent.spool import Gap, Reader, State, audit, books
from agent.spool.state import check_format

READERS = (LAKE, Reader("file", "all"), Reader("notes", "few"))
DATA = records(200, size=100)
FEW = records(50, 1000, size=100)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_PAUSE_SECONDS", 0.0)


def fill(state: Path) -> None:
    """200 and 50 records; the lake has taken 150, the others none."""

    async def main() -> None:
        async with opened(state, *READERS, segment_bytes=8 << 10) as spool:
            for i in range(0, 200, 20):
                await spool.append([part(DATA[i : i + 20]), part(FEW[i // 4 : i // 4 + 5], "few")])
            await deliver(spool, "lake", most=150)

    run(main)


def found(state: Path, *, readers: tuple[Reader, ...] = READERS) -> tuple[dict[str, int], dict[int, bytes], list[Gap]]:
    """Where each sink goes on, and what stands in lane `all`."""

    async def main() -> tuple[dict[str, int], dict[int, bytes], list[Gap]]:
        async with opened(state, *readers) as spool:
            positions = {reader.sink: spool.cursors(reader.sink)[-1].position for reader in readers}
            return positions, *await everything(spool.lanes["all"])

    result: tuple[dict[str, int], dict[int, bytes], list[Gap]] = run(main)
    return result


def swap(one: Path, other: Path) -> None:
    mine, its = one.read_bytes(), other.read_bytes()
    one.write_bytes(its)
    other.write_bytes(mine)


WHERE = {"lake": 150, "file": 0, "notes": 0}


def test_a_sink_never_takes_the_place_of_another(state: Path) -> None:
    fill(state)
    lane = state / "lanes" / "all"
    swap(lane / "lake.cursor", lane / "file.cursor")
    assert {finding.sink for finding in audit(state).findings} == {"lake", "file"}
    assert found(state)[0] == WHERE


@pytest.mark.parametrize("target", ["all/file", "few/notes", "dead/dead-letters"])
def test_a_copy_of_a_cursor_moves_nobody(state: Path, target: str) -> None:
    fill(state)
    shutil.copy(state / "lanes" / "all" / "lake.cursor", state / "lanes" / f"{target}.cursor")
    assert found(state) == (WHERE, dict(enumerate(DATA)), [])


def test_a_cursor_in_another_lane_reads_nothing_there(state: Path) -> None:
    fill(state)
    shutil.copy(state / "lanes" / "all" / "lake.cursor", state / "lanes" / "few")

    async def main() -> None:
        async with opened(state, *READERS) as spool:
            assert [cursor.lane.name for cursor in spool.cursors("lake")] == ["all"]
            assert spool.lanes["few"].head == 50

    run(main)


def test_a_cursor_that_was_renamed_a_moment_before_a_kill_is_not_misplaced(state: Path) -> None:
    fill(state)
    lane = state / "lanes" / "all"
    (lane / "lake.cursor").rename(lane / "pond.cursor")
    readers = (Reader("pond", "all", was="lake"), *READERS[1:])
    assert found(state, readers=readers)[0] == {"pond": 150, "file": 0, "notes": 0}


def test_a_segment_of_another_lane_stands_in_nobodys_way(state: Path) -> None:
    fill(state)
    for path in segments(state, "few"):
        shutil.copy(path, state / "lanes" / "all")
    assert found(state) == (WHERE, dict(enumerate(DATA)), [])


def test_swapped_segments_cost_themselves(state: Path) -> None:
    fill(state)
    paths = segments(state)
    bases = [int(path.name[:16], 16) for path in paths]
    swap(paths[0], paths[2])
    lost = [range(bases[0], bases[1]), range(bases[2], bases[3] if len(bases) > 3 else 200)]
    _, there, gaps = found(state)
    assert there == {i: record for i, record in enumerate(DATA) if not any(i in stretch for stretch in lost)}
    assert gaps == [Gap(each.start, len(each), State.DAMAGED) for each in lost]


def test_a_frame_that_stands_there_a_second_time_gives_no_index_out_again(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            for i in range(0, 60, 20):
                await spool.append([part(DATA[i : i + 20])])

    run(main)
    (state / "lanes" / "all" / "head").unlink()  # nothing else says how far it went
    (path,) = segments(state)
    (start, header), *_ = frames(path)
    data = path.read_bytes()
    path.write_bytes(data + data[start : start + header.size])

    async def again() -> None:
        async with opened(state) as spool:
            assert spool.lanes["all"].head == 60
            assert await everything(spool.lanes["all"]) == (dict(enumerate(DATA[:60])), [])

    run(again)


@pytest.mark.parametrize("lane", ["few", "dead"])
def test_the_head_mark_of_another_lane_says_nothing_here(state: Path, lane: str) -> None:
    fill(state)
    shutil.copy(state / "lanes" / "all" / "head", state / "lanes" / lane / "head")

    async def main() -> None:
        async with opened(state, *READERS) as spool:
            assert {name: one.head for name, one in spool.lanes.items()} == {"all": 200, "few": 50, "dead": 0}
            assert {sink: len(spool.cursors(sink)) for sink in WHERE} == dict.fromkeys(WHERE, 1)

    run(main)


def test_without_the_head_mark_nobody_knows_how_far_it_went_and_that_is_said(state: Path) -> None:
    fill(state)
    (state / "lanes" / "all" / "head").unlink()
    segments(state)[-1].unlink()
    assert any("unknown, at most one segment" in finding.text for finding in audit(state).findings)
    with capture_logs() as said:
        found(state)
    assert any("unknown, at most one segment" in str(line.get("problem")) for line in said)


def test_a_directory_that_is_new_has_lost_nothing(state: Path) -> None:
    with capture_logs() as said:
        found(state)
    assert not [line for line in said if line["event"] == "damage found"]


def spoiled(text: bytes) -> bytes:
    return b"e" + text[1:] if text[:1] != b"e" else b"f" + text[1:]


@pytest.mark.parametrize("harm", [spoiled, lambda text: text[:7], lambda text: b"", lambda text: b"\xff" * 40, None])
def test_the_name_of_the_directory_outlives_its_file(state: Path, harm: Callable[[bytes], bytes] | None) -> None:
    """Collectors have their sessions at the brokers under it."""
    fill(state)
    path = state / "instance"
    name = path.read_text()
    path.unlink() if harm is None else path.write_bytes(harm(path.read_bytes()))
    audit(state)
    found(state)
    assert path.read_text() == name


def test_a_directory_without_marks_has_the_name_that_its_file_says(state: Path) -> None:
    fill(state)
    shutil.rmtree(state / "lanes")
    name = (state / "instance").read_text()
    found(state)
    assert (state / "instance").read_text() == name


@pytest.mark.parametrize("text", ["3 1.2.3\n", "9 1.2.2\n", "7", "12345\n", "0 1.2.3\n", "1\0 1.2.3\n"])
def test_a_flipped_format_is_damage_and_no_newer_program(state: Path, text: str) -> None:
    fill(state)
    (state / "format").write_text(text)
    assert found(state) == (WHERE, dict(enumerate(DATA)), [])
    assert (state / "format").read_text() == "1 1.2.3\n"


@pytest.mark.parametrize("version", ["1.2.4", "1.3.0", "2.0", "10.0.0"])
def test_a_format_of_a_newer_program_is_believed(state: Path, version: str) -> None:
    fill(state)
    (state / "format").write_text(f"2 {version}\n")
    with pytest.raises(StateTooNew, match=f"format 2 by version {version}"):
        check_format(state, "1.2.3")
