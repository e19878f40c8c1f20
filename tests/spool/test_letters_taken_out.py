"""Dead letters that were replayed or dropped: gone for good, counted, and no damage to anybody who looks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from spooling import dead as dead_part
from spooling import letter, opened, part, records, run

from agent.spool import State, audit, books, dead, inventory
from agent.spool import letters as letters_module
from agent.spool.letter_files import Standing, files
from agent.spool.letters import Letters
from agent.spool.lines import MARKS, Fate, read, rewritten
from agent.spool.shelf import Shelf, alone

SINKS = ("lake", "file", "intake")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(books, "_PAUSE_SECONDS", 0.0)


def kept(state: Path) -> list[int]:
    """The numbers of the letters that are still there."""
    lines = (read(text) for path in files(state / "dead-letters") for text in path.read_bytes().splitlines())
    return [line.first for line in lines if line is not None and line.kept is not None]


async def fill(state: Path, count: int, *, size: int = 0) -> None:
    """Letters of three sinks in turn; the ledgers of two of them say so."""
    async with opened(state) as spool:
        await spool.append([part(records(count))])
        for i in range(0, count, 50):
            some = [_letter(j, size) for j in range(i, min(count, i + 50))]
            await spool.append([dead_part(*some)])
        cursor = spool.cursors("lake")[-1]
        cursor.book(sum(SINKS[j % 3] == "lake" for j in range(count)), State.DEAD)
        await cursor.save()


def _letter(number: int, size: int) -> bytes:
    sink = SINKS[number % 3]
    return letter(None if sink == "intake" else f"{number:x}-{number}", sink) + b" " * size


async def take(shelf: Shelf, numbers: Sequence[int], fate: Fate) -> None:
    """Take these out, in one round."""
    async for chunk in shelf.chunks():
        some = [one for one in chunk if one.seq in numbers]
        if some:
            await shelf.take_out(some, fate)


def balanced(state: Path) -> books.Report:
    report = audit(state)
    assert report.balanced, report.findings
    return report


def test_what_is_taken_out_is_counted_by_sink_and_the_books_balance(state: Path) -> None:
    async def main() -> None:
        await fill(state, 30)
        async with opened(state) as spool:
            await take(await spool.dead_letters(), range(12), "replayed")
            await take(await spool.dead_letters(), range(12, 18), "dropped")

    run(main)
    report = balanced(state)
    assert kept(state) == list(range(18, 30))
    assert report.dead_letters == {"lake": 4, "file": 4, "intake": 4}
    assert report.dead_replayed == {"lake": 4, "file": 4, "intake": 4}
    assert report.dead_dropped == {"lake": 2, "file": 2, "intake": 2}


def test_the_room_is_given_back_and_the_numbers_go_on(state: Path) -> None:
    async def main() -> None:
        await fill(state, 100, size=1000)
        async with opened(state) as spool:
            (path,) = files(state / "dead-letters")
            os.utime(path, (1e9, 1e9))
            await take(await spool.dead_letters(), range(10, 90), "dropped")
            assert path.stat().st_size < 25_000
            assert path.stat().st_mtime == 1e9, "letters grow no younger"
            os.utime(path)
            await spool.append([dead_part(letter("f-1"))])
        await fill_one_more(state)

    run(main)
    balanced(state)
    assert kept(state) == [*range(10), *range(90, 102)]


async def fill_one_more(state: Path) -> None:
    async with opened(state) as spool:
        await spool.append([dead_part(letter("f-2"))])


def test_where_nothing_is_left_no_file_is_and_nothing_is_forgotten(state: Path) -> None:
    async def main() -> None:
        await fill(state, 30)
        async with opened(state) as spool:
            await take(await spool.dead_letters(), range(30), "replayed")
            assert files(state / "dead-letters") == []
        report = balanced(state)
        assert report.dead_replayed == {"lake": 10, "file": 10, "intake": 10}
        await fill_one_more(state)

    run(main)
    report = balanced(state)
    assert kept(state) == [30]
    assert report.dead_replayed == {"lake": 10, "file": 10, "intake": 10}
    assert [path.name for path in files(state / "dead-letters")] == [f"{30:016d}.ndjson"]


def test_without_an_agent_it_is_the_same(state: Path) -> None:
    async def main() -> None:
        await fill(state, 30)
        with alone(state, "1.2.3") as shelf:
            await take(shelf, range(0, 30, 3), "replayed")
        assert balanced(state).dead_replayed == {"lake": 10}
        with alone(state, "1.2.3") as shelf:
            await take(shelf, range(30), "dropped")
        await fill_one_more(state)

    run(main)
    report = balanced(state)
    assert report.dead_letters == {"lake": 1}
    assert report.dead_dropped == {"file": 10, "intake": 10}


@pytest.mark.parametrize(
    "which", ["a letter", "a letter beside a stretch", "a stretch", "a mark", "the last", "the file"]
)
def test_what_goes_behind_its_back_is_found_beside_what_was_taken_out(state: Path, which: str) -> None:
    async def main() -> None:
        await fill(state, 30)
        with alone(state, "1.2.3") as shelf:
            await take(shelf, range(5, 20), "replayed")
        with alone(state, "1.2.3") as shelf:
            async for chunk in shelf.chunks():
                # The last chunk asked for is never left: the mark stays a mark.
                await shelf.take_out([one for one in chunk if one.seq == 25], "dropped")
                break

    run(main)
    balanced(state)
    (path,) = files(state / "dead-letters")
    lines = path.read_bytes().splitlines(keepends=True)
    assert [line[:6] for line in lines[5:7]] == [b'{"gone', b'{"seq"']
    place = {"a letter": 0, "a letter beside a stretch": 6, "a stretch": 5, "a mark": 11, "the last": -1}.get(which)
    if place is None:
        path.unlink()
    else:
        assert which != "a mark" or lines[place].startswith(b'{"deq":25,')
        del lines[place]
        path.write_bytes(b"".join(lines))
    assert any("are gone" in finding.text for finding in audit(state).findings)
    if place is None:
        return

    async def afterwards() -> None:
        with alone(state, "1.2.3") as shelf:
            await take(shelf, range(30), "dropped")

    run(afterwards)  # and no tidying hides it
    assert any("are gone" in finding.text for finding in audit(state).findings)


class _Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """End at the call of that number to anything that changes a file."""
    calls = 0

    def dying(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls > number:
                raise _Killed
            return real(*args, **more)

        monkeypatch.setattr(os, name, call)

    for name in ("pwrite", "write", "rename", "unlink", "fsync", "fdatasync"):
        dying(name)
    try:
        yield
    finally:
        monkeypatch.undo()


def test_killed_at_any_moment_a_letter_is_there_or_booked_and_never_both(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three files, of which the first is emptied: every step of marking, writing anew, booking and deleting."""

    async def prepare() -> None:
        async with opened(state, dead_max_bytes=1 << 20) as spool:
            for i in range(0, 90, 30):
                await spool.append([dead_part(*(_letter(j, 2200) for j in range(i, i + 30)))])

    run(prepare)
    assert len(files(state / "dead-letters")) >= 3
    ended = False
    for number in range(200):
        copy = state.with_name(f"copy-{number}")
        shutil.copytree(state, copy)

        async def work(copy: Path = copy, number: int = number) -> bool:
            try:
                with alone(copy, "1.2.3") as shelf, killed_at(monkeypatch, number):
                    await take(shelf, [*range(40), 70], "replayed")
            except _Killed:
                return False
            return True

        ended = run(work)
        report = balanced(copy)
        there = set(kept(copy))
        gone = sum(report.dead_replayed.values())
        assert len(there) + gone == 90, number
        assert set(range(90)) - {*range(40), 70} <= there

        async def again(copy: Path = copy) -> None:
            with alone(copy, "1.2.3") as shelf:
                await take(shelf, [*range(40), 70], "replayed")

        run(again)
        assert kept(copy) == [n for n in range(40, 90) if n != 70]
        assert sum(balanced(copy).dead_replayed.values()) == 41
        assert not list(copy.rglob("*.new"))
        shutil.rmtree(copy)
        if ended:
            assert number > 10
            break
    assert ended


def test_a_letter_that_went_for_room_while_it_was_replayed_is_booked_as_replayed(tmp_path: Path) -> None:
    letters = Letters(tmp_path, max_bytes=256 * 1024, max_age=86400, sync=False, now=time.time)
    letters.load()
    letters.append(0, [letter("a-0") + b" " * 400])
    chunk = letters.read(letters_module.Place())
    assert chunk is not None
    letters.append(1, [letter(f"a-{i}") + b" " * 400 for i in range(1, 5000)])
    dropped = letters.dropped["lake"]
    letters.take_out(chunk.letters, "replayed")
    letters.close()
    assert letters.dropped["lake"] == dropped - 1
    found = inventory.counted(letters._mark.value or {})
    assert found.replayed == {"lake": 1}


def test_files_that_grow_old_take_what_was_taken_out_of_them_into_the_books(tmp_path: Path) -> None:
    now = time.time()
    letters = Letters(tmp_path, max_bytes=1 << 20, max_age=10 * 86400, sync=False, now=lambda: now)
    letters.load()
    letters.append(0, [letter(f"a-{i}") for i in range(10)])
    chunk = letters.read(letters_module.Place())
    assert chunk is not None
    letters.take_out(chunk.letters[2:6], "replayed")
    letters.tidy(chunk.following.file)
    letters.take_out(_first(letters), "dropped")
    now += 20 * 86400
    letters.append(10, [letter("b-0")])
    letters.close()
    (path,) = files(tmp_path)
    assert [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["b-0"]
    assert letters.dropped["lake"] == 6
    assert inventory.counted(letters._mark.value or {}).replayed == {"lake": 4}


def _first(letters: Letters) -> list[Standing]:
    chunk = letters.read(letters_module.Place())
    assert chunk is not None
    return chunk.letters[:1]


def test_one_flipped_bit_makes_no_letter_a_replayed_one() -> None:
    line = b'{"seq":5,"at":7,"id":"a-0","sink":"lake"}'
    for bit in range(8 * len(line)):
        data = bytearray(line)
        data[bit // 8] ^= 1 << bit % 8
        found = read(bytes(data))
        assert found is None or found.fate is None, bytes(data)
    for mark in MARKS.values():
        found = read(line[:2] + mark + line[3:])
        assert found is not None
        assert found.fate is not None


def test_writing_anew_joins_neighbours_and_keeps_what_is_damaged() -> None:
    lines = [
        b'{"deq":0,"at":0,"sink":"lake"}\n',
        b'{"xeq":1,"at":1,"sink":"lake"}\n',
        b'{"gone":[2,9],"at":9,"replayed":{"lake":7},"dropped":{"file":1}}\n',
        b"no line of ours\n",
        b'{"deq":11,"at":11,"sink":"lake"}\n',
        b'{"seq":12,"at":12,"sink":"lake"}\n',
        b'{"deq":13,"at":13,"sink":"lake"}\n',
        b'{"deq":15,"at":15,"sink":"lake"}\n',
    ]
    data = rewritten(b"".join(lines))
    assert [orjson.loads(line) if line.startswith(b"{") else line for line in data.splitlines()] == [
        {"gone": [0, 9], "at": 9, "replayed": {"lake": 8}, "dropped": {"lake": 1, "file": 1}},
        b"no line of ours",
        {"gone": [11, 11], "at": 11, "replayed": {}, "dropped": {"lake": 1}},
        {"seq": 12, "at": 12, "sink": "lake"},
        {"gone": [13, 13], "at": 13, "replayed": {}, "dropped": {"lake": 1}},
        {"gone": [15, 15], "at": 15, "replayed": {}, "dropped": {"lake": 1}},
    ]
    assert rewritten(data) == data
