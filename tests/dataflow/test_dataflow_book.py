"""The file that rules live by: whole or not there, small, shared by those who write at the same time."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from far_side import run
from leading import RULE, SINK
from structlog.testing import capture_logs

from agent.dataflow.book import LATEST, NAME, Book
from agent.dataflow.kept import Intent
from agent.errors import StateError, StateTooNew


def noted(folder: Path, *names: str) -> Path:
    """A book in which these objects were counted."""

    async def main() -> None:
        book = await Book.open(folder)
        for name in names:
            book.count(SINK, name, [RULE])
        await book.save()

    run(main())
    return folder / NAME


def waiting(folder: Path) -> int:
    async def main() -> int:
        return (await Book.open(folder)).rule(RULE).waiting

    return run(main())


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        book = await Book.open(tmp_path)
        kept = book.rule(RULE)
        kept.waiting, kept.tick = 5, 1234
        kept.mean(Intent(before={"target": "job:J1", "executions": ["a"], "at_ms": 7}, objects=4, began=8), "d", 9)
        await book.save()
        again = (await Book.open(tmp_path)).rule(RULE)
        assert again == kept
        assert (again.waiting, again.runs, again.tick) == (1, 1, 9)

    run(main())


def test_only_the_latest_objects_are_remembered_so_the_file_stays_small(tmp_path: Path) -> None:
    path = noted(tmp_path, *(f"{n:032}" for n in range(3 * LATEST)))
    assert waiting(tmp_path) == 3 * LATEST
    assert path.stat().st_size < 64 * LATEST
    noted(tmp_path, f"{3 * LATEST - 1:032}", f"{2 * LATEST:032}")
    assert waiting(tmp_path) == 3 * LATEST


def test_those_who_save_at_once_share_a_write_and_nobody_returns_before_it(tmp_path: Path) -> None:
    async def main() -> None:
        book = await Book.open(tmp_path)
        states = set[int]()

        async def note(n: int) -> None:
            book.count(SINK, str(n), [RULE])
            await book.save()
            states.add((tmp_path / NAME).stat().st_ino)
            # Not by Book.open, which gives what another one is reading already.
            assert json.loads((tmp_path / NAME).read_bytes())["state"]["rules"][RULE]["waiting"] > n

        await asyncio.gather(*(note(n) for n in range(50)))
        assert len(states) < 10

    run(main())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: text.replace(b'"waiting":2', b'"waiting":9'),
        lambda text: text.replace(b'"crc32":', b'"crc32":1'),
        lambda text: b"\xff\xfe" + text,
        lambda text: b"[" * 100_000,
        lambda text: b'{"format":1}',
    ],
    ids=["half", "empty", "another number", "another checksum", "no text", "deep", "nothing in it"],
)
def test_a_damaged_book_is_set_aside_and_begun_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = noted(tmp_path, "a", "b")
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with capture_logs() as logs:
        assert waiting(tmp_path) == 0
    (line,) = logs
    (kept,) = (tmp_path / "damaged").iterdir()
    assert (line["log_level"], line["set_aside"]) == ("error", str(kept))
    assert kept.read_bytes() == damaged
    assert not path.exists()


def test_a_book_of_a_newer_program_is_not_touched(tmp_path: Path) -> None:
    path = noted(tmp_path, "a")
    newer = path.read_bytes().replace(b'"format":1', b'"format":2')
    path.write_bytes(newer)
    with pytest.raises(StateTooNew, match=r"dataflow\.json: written in format 2 by a newer version; this one reads 1"):
        waiting(tmp_path)
    assert path.read_bytes() == newer


def test_a_book_that_cannot_be_read_is_an_error_and_no_first_start(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(StateError, match=r"dataflow\.json: Is a directory"):
        waiting(tmp_path)


def test_a_write_that_fails_leaves_the_former_state_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(tmp_path, "a")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            noted(tmp_path, "b")
    assert waiting(tmp_path) == 1
    assert os.listdir(tmp_path) == [NAME]


def test_rules_that_are_no_more_are_forgotten_and_it_is_said_what_they_left(tmp_path: Path) -> None:
    path = noted(tmp_path, "a")

    async def main() -> None:
        book = await Book.open(tmp_path)
        book.rule("idle")
        with capture_logs() as logs:
            book.forget_others({"other"}, {"elsewhere"})
        assert [(line["rule"], line["objects"]) for line in logs] == [(RULE, 1)]
        await book.save()
        assert msgspec.json.decode(path.read_bytes())["state"] == {"rules": {}, "noted": {}}

    run(main())
