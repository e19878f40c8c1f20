"""The two-slot file: always whole, whatever a crash leaves of a write."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooling import temporary

from agent.spool.mark import SLOT_BYTES, Mark, room


def test_the_last_write_counts_whichever_slot_it_is_in(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "m")
    for n in range(5):
        mark.write({"n": n})
        again = Mark(tmp_path / "m")
        assert again.load()
        assert again.value == {"n": n}
    mark.close()
    assert (tmp_path / "m").stat().st_size == 2 * SLOT_BYTES
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o600


@given(st.integers(1, 4), st.binary(min_size=1, max_size=SLOT_BYTES), st.integers(0, SLOT_BYTES - 1))
def test_a_torn_write_leaves_the_one_before(writes: int, garbage: bytes, at: int) -> None:
    with temporary() as directory:
        path = Path(directory) / "m"
        mark = Mark(path)
        for n in range(writes):
            mark.write({"n": n})
        mark.close()
        # The next write goes to the slot of the next generation, wherever it is torn.
        slot = (writes + 1) % 2 * SLOT_BYTES
        data = bytearray(path.read_bytes())
        data[slot + at : slot + SLOT_BYTES] = garbage[: SLOT_BYTES - at].ljust(SLOT_BYTES - at, b"\0")
        path.write_bytes(data)
        again = Mark(path)
        assert again.load()
        assert again.value == {"n": writes - 1}


def test_what_holds_no_valid_slot_is_no_mark(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x" * 2 * SLOT_BYTES)
    assert not Mark(tmp_path / "m").load()
    (tmp_path / "m").write_bytes(b"")
    assert not Mark(tmp_path / "m").load()


def test_a_mark_that_was_cut_short_is_written_out_in_full_again(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "m")
    mark.write({"n": 1})
    mark.write({"n": 2})
    mark.close()
    os.truncate(tmp_path / "m", SLOT_BYTES)
    again = Mark(tmp_path / "m")
    assert again.load()
    again.write({"n": 3})
    again.close()
    assert (tmp_path / "m").stat().st_size == 2 * SLOT_BYTES


def test_text_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    mark = Mark(tmp_path / "m")
    mark.write({"n": 1})
    with pytest.raises(ValueError, match="do not fit"):
        mark.write({"n": "x" * room()})
    mark.write({"n": "x" * (room() - 8)})
    mark.close()


def test_after_a_failed_sync_the_descriptor_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Mark(tmp_path / "m")
    mark.write({"n": 1})
    synced: list[int] = []
    real = os.fdatasync

    def failing(fd: int) -> None:
        synced.append(fd)
        raise OSError(errno.EIO, "input/output error")

    keep_numbers_apart = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(OSError, match="input/output"):
        mark.write({"n": 2})
    os.dup2(keep_numbers_apart, synced[0])  # whoever still used that number would get a directory
    monkeypatch.setattr(os, "fdatasync", real)
    mark.write({"n": 3})
    mark.close()
    os.close(synced[0])
    os.close(keep_numbers_apart)
    again = Mark(tmp_path / "m")
    assert again.load()
    assert again.value == {"n": 3}


def test_a_write_outdoes_a_file_that_was_never_read(tmp_path: Path) -> None:
    first = Mark(tmp_path / "m")
    for n in range(7):
        first.write({"n": n})
    first.close()
    second = Mark(tmp_path / "m")
    second.write({"n": "new"})
    second.close()
    third = Mark(tmp_path / "m")
    assert third.load()
    assert third.value == {"n": "new"}
