"""Dead letters: frames like any record, moved to bounded files, each once and in order."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from spooling import dead as dead_part
from spooling import letter, opened, part, records, run, until
from structlog.testing import capture_logs

from agent.spool import State, audit, dead, inventory
from agent.spool.letter_files import files
from agent.spool.letters import Letters


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead, "_PAUSE_SECONDS", 0.0)


def lines(state: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for path in files(state / "dead-letters") for line in path.read_bytes().splitlines()]


def test_letters_come_to_their_file_in_order_and_numbered(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0"), letter("a-1"))])
            await until(lambda: len(lines(state)) == 2)
            await spool.append([dead_part(letter(None, "intake"))])
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-2"))])

    run(main)
    found = lines(state)
    assert [one["seq"] for one in found] == [0, 1, 2, 3]
    assert [(one["id"], one["sink"]) for one in found] == [
        ("a-0", "lake"),
        ("a-1", "lake"),
        (None, "intake"),
        ("a-2", "lake"),
    ]
    assert audit(state).dead_letters == {"lake": 3, "intake": 1}


def test_a_letter_written_again_after_a_crash_is_kept_once(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0"))])
        async with opened(state) as spool:
            # It had been buried, but the cursor had not heard of it.
            await spool.append([dead_part(letter("a-0"), letter("a-0", "file"), letter("a-1"))])

    run(main)
    assert [(one["id"], one["sink"]) for one in lines(state)] == [("a-0", "lake"), ("a-0", "file"), ("a-1", "lake")]


def test_a_crash_between_the_file_and_the_cursor_writes_nothing_twice(state: Path) -> None:
    async def main() -> None:
        before = state.with_name("before")
        async with opened(state) as spool:
            await spool.append([dead_part(letter(None), letter(None))])
            cursor = spool.cursors(dead.SINK)[-1]
            await until(lambda: cursor.position == 2)
            assert len(lines(state)) == 2
            shutil.copytree(state, before)  # the cursor's file says 0: it is saved by the timer
        async with opened(before) as spool:
            await until(lambda: spool.cursors(dead.SINK)[-1].position == 2)
        assert len(lines(before)) == 2

    run(main)


@pytest.mark.parametrize("torn", [b'{"seq":2,"at":2,"id":"a-', b'{"seq":2,"at":2,"id":"a-2","sink":"lake"}'])
def test_a_torn_line_counts_for_nothing_and_is_written_again(state: Path, torn: bytes) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0"), letter("a-1"))])
        (path,) = files(state / "dead-letters")
        with open(path, "ab") as file:
            file.write(torn)
        assert [one["id"] for one in inventory.look(state / "dead-letters").letters] == ["a-0", "a-1"]
        assert audit(state).balanced
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-2"))])

    run(main)
    assert [one["id"] for one in lines(state)] == ["a-0", "a-1", "a-2"]


def test_the_oldest_letters_are_dropped_and_counted_by_sink(state: Path) -> None:
    most = 256 * 1024

    async def main() -> None:
        async with opened(state, dead_max_bytes=most) as spool:
            for i in range(200):
                sink = "lake" if i % 4 else "file"
                await spool.append([dead_part(*(letter(f"{i:x}-{j}", sink) + b" " * 400 for j in range(10)))])
        size = sum(path.stat().st_size for path in files(state / "dead-letters"))
        assert size <= most

    run(main)
    report = audit(state)
    assert report.balanced, report.findings
    kept = lines(state)
    assert [one["seq"] for one in kept] == list(range(2000 - len(kept), 2000))
    for sink, count in (("lake", 1500), ("file", 500)):
        assert report.dead_letters[sink] + report.dead_dropped[sink] == count


def test_however_many_come_at_once_the_limit_holds(tmp_path: Path) -> None:
    letters = Letters(tmp_path, max_bytes=256 * 1024, max_age=86400, sync=False, now=time.time)
    letters.load()
    letters.append(0, [letter(f"a-{i}") + b" " * 400 for i in range(5000)])
    letters.close()
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 256 * 1024
    kept = [orjson.loads(line)["seq"] for path in files(tmp_path) for line in path.read_bytes().splitlines()]
    assert kept == list(range(5000 - len(kept), 5000))
    assert letters.dropped["lake"] == 5000 - len(kept)


def test_letters_past_their_age_are_dropped(tmp_path: Path) -> None:
    now = time.time()
    letters = Letters(tmp_path, max_bytes=1 << 20, max_age=10 * 86400, sync=False, now=lambda: now)
    letters.load()
    for day in range(30):
        now += 86400 + 1
        letters.append(day, [letter(f"a-{day}")])
        for path in files(tmp_path):
            if path == files(tmp_path)[-1]:
                os.utime(path, (now, now))
    letters.close()
    kept = [orjson.loads(line)["id"] for path in files(tmp_path) for line in path.read_bytes().splitlines()]
    assert kept[-1] == "a-29"
    assert 9 <= len(kept) <= 12
    assert letters.dropped["lake"] == 30 - len(kept)


def test_letters_that_could_not_be_written_are_not_taken_for_written(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "_RETRY_SECONDS", 0.02)
    real = os.fsync
    failures = [OSError(errno.EIO, "input/output error")] * 3

    def failing(fd: int) -> None:
        if failures and os.readlink(f"/proc/self/fd/{fd}").endswith(".ndjson"):
            raise failures.pop()
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0"), letter("a-1"))])
            await until(lambda: spool.cursors(dead.SINK)[-1].position == 2)

    run(main)
    assert not failures
    assert [(one["seq"], one["id"]) for one in lines(state)] == [(0, "a-0"), (1, "a-1")]


def test_a_directory_that_cannot_be_written_holds_letters_back_and_loses_none(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "_RETRY_SECONDS", 0.05)

    async def main() -> None:
        async with opened(state) as spool:
            (state / "dead-letters").write_text("in the way")
            await spool.append([dead_part(letter("a-0")), part(records(5))])
            await until(lambda: spool._works.drain._trouble)
            (state / "dead-letters").unlink()
            (state / "dead-letters").mkdir()
            await until(lambda: len(lines(state)) == 1)
        assert audit(state).balanced

    run(main)


def spoil(state: Path) -> None:
    """Flip one bit in the first line: "seq" becomes "sep"."""
    (path,) = files(state / "dead-letters")
    data = path.read_bytes()
    assert data.startswith(b'{"seq":')
    path.write_bytes(data.replace(b"q", b"p", 1))


def test_a_flipped_bit_in_a_letter_costs_that_letter_and_is_named(state: Path) -> None:
    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0"), letter("a-1"))])
        spoil(state)
        with capture_logs() as said:
            async with opened(state) as spool:
                await spool.append([dead_part(letter("a-2"))])
                await until(lambda: spool.cursors(dead.SINK)[-1].position == 3)
        (line,) = [line for line in said if "damaged" in line["event"]]
        assert (line["log_level"], line["lines"]) == ("error", 1)

    run(main)
    assert [one.get("seq") for one in lines(state)] == [None, 1, 2]
    report = audit(state)
    assert report.dead_letters == {"lake": 2}
    assert any("damaged lines: 1" in finding.text for finding in report.findings)


def test_whatever_befalls_the_letters_at_the_end_the_cursors_are_saved(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(letters: Letters, first: int, data: Sequence[bytes]) -> None:
        raise KeyError("seq")

    async def main() -> None:
        monkeypatch.setattr(Letters, "append", broken)
        async with opened(state) as spool:
            await spool.append([dead_part(letter("a-0")), part(records(5))])
            spool.cursors("lake")[-1].book(5, State.DELIVERED)
        monkeypatch.undo()
        assert not [one for one in threading.enumerate() if one.name.startswith("spool-keeper")]
        async with opened(state) as spool:
            assert spool.cursors("lake")[-1].position == 5
            await until(lambda: len(lines(state)) == 1)

    run(main)
    assert audit(state).balanced
