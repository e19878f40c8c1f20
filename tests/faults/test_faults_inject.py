"""The layer of faults itself: what it says it does to a process, it does; a power cut leaves what was promised."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random

import pytest

from faults.inject import Injection, Rule
from faults.inject.powercut import leave


def _run(injection: Injection, program: str, folder: Path) -> subprocess.Popen[str]:
    """Run a program under the layer to its end; `top` is the directory it works in."""
    text = f"import os, pathlib, time\ntop = pathlib.Path({str(folder)!r})\n" + textwrap.dedent(program)
    with subprocess.Popen(
        [sys.executable, "-c", text], env={**os.environ, **injection.env}, stdout=subprocess.PIPE, text=True
    ) as child:
        child.wait(20)
    return child


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    folder.mkdir()
    return folder


@pytest.fixture
def injection(tmp_path: Path) -> Injection:
    return Injection(tmp_path / "injected")


APPENDS = """
    fd = os.open(top / "log", os.O_WRONLY | os.O_CREAT)
    for _ in range(3):
        os.write(fd, b"0123456789")
        os.fdatasync(fd)
    """


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [
        (Rule(call="write", at="*/log", do="kill", nth=2), range(10, 11)),
        (Rule(call="write", at="*/log", do="kill", nth=2, when="middle"), range(11, 20)),
        (Rule(call="write", at="*/log", do="kill", nth=2, when="after"), range(20, 21)),
        (Rule(call="fdatasync", at="*/log", do="kill"), range(10, 11)),
    ],
    ids=["before", "middle", "after", "fdatasync"],
)
def test_a_process_kills_itself_where_the_rule_says(injection: Injection, top: Path, rule: Rule, sizes: range) -> None:
    injection.arm(rule)
    assert _run(injection, APPENDS, top).returncode == -signal.SIGKILL
    assert (top / "log").stat().st_size in sizes
    assert [hit["rule"]["nth"] for hit in injection.hits()] == [rule.nth]


def test_calls_elsewhere_and_beyond_the_rule_go_through(injection: Injection, top: Path) -> None:
    injection.arm(Rule(call="write", at="*/other", do="kill"), Rule(call="fdatasync", do="kill", nth=4))
    assert _run(injection, APPENDS, top).returncode == 0
    assert (top / "log").read_bytes() == b"0123456789" * 3
    assert injection.hits() == []


def test_after_is_after_a_call_that_fails_too(injection: Injection, top: Path) -> None:
    injection.arm(Rule(call="unlink", do="kill", when="after"))
    assert _run(injection, "(top / 'missing').unlink()", top).returncode == -signal.SIGKILL


def test_errors_are_those_of_the_system(injection: Injection, top: Path) -> None:
    injection.arm(Rule(call="write", do="ENOSPC", at="*/log", when="middle", times=1))
    program = """
        fd = os.open(top / "log", os.O_WRONLY | os.O_CREAT)
        try:
            os.write(fd, b"0123456789")
        except OSError as error:
            raise SystemExit(error.errno)
        """
    assert _run(injection, program, top).returncode == errno.ENOSPC
    assert 0 < (top / "log").stat().st_size < 10


def test_rules_come_and_go_while_the_process_runs(injection: Injection, top: Path) -> None:
    injection.arm(Rule(call="mkdir", do="EIO", times=None))
    injection.set_clock(-1e9)
    program = """
        before = time.time()
        while True:
            try:
                (top / "made").mkdir()
                break
            except OSError:
                (top / "tried").touch()
        assert time.time() - before > 5e8
        """
    text = f"import os, pathlib, time\ntop = pathlib.Path({str(top)!r})\n" + textwrap.dedent(program)
    with subprocess.Popen([sys.executable, "-c", text], env={**os.environ, **injection.env}) as child:
        while not (top / "tried").exists():
            assert child.poll() is None
        injection.set_clock(0)
        injection.disarm()
        assert child.wait(20) == 0


# What the program does, and what a power cut at its end leaves where all that was not synced is lost.
SYNC = """
    def sync(path):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    """
CUTS = {
    "nothing-synced": ("(top / 'a').write_bytes(b'1')", {}),
    "file-without-its-name": ("(top / 'a').write_bytes(b'1'); sync(top / 'a')", {}),
    "name-without-its-bytes": ("(top / 'a').write_bytes(b'1'); sync(top)", {"a": b""}),
    "both": ("(top / 'a').write_bytes(b'1'); sync(top / 'a'); sync(top)", {"a": b"1"}),
    "written-after-the-sync": (
        "f = open(top / 'a', 'wb', 0); f.write(b'1'); sync(top / 'a'); sync(top); f.write(b'2')",
        {"a": b"1"},
    ),
    "renamed-and-not-synced": (
        "(top / 'a').write_bytes(b'1'); sync(top / 'a'); sync(top); os.replace(top / 'a', top / 'b')",
        {"a": b"1"},
    ),
    "renamed-over": (
        "(top / 'b').write_bytes(b'2'); sync(top / 'b'); (top / 'a').touch(); (top / 'b').rename(top / 'a'); sync(top)",
        {"a": b"2"},
    ),
    "removed-and-not-synced": (
        "(top / 'a').write_bytes(b'1'); sync(top / 'a'); sync(top); (top / 'a').unlink()",
        {"a": b"1"},
    ),
    "removed": ("(top / 'old').unlink(); sync(top)", {}),
    "overwritten": ("(top / 'old').write_bytes(b'new'); sync(top / 'old')", {"old": b"new"}),
    "untouched": ("pass", {"old": b"old"}),
    "folder-not-synced": (
        "(top / 'f').mkdir(); (top / 'f' / 'a').write_bytes(b'1'); sync(top / 'f' / 'a'); sync(top / 'f')",
        {},
    ),
    "folder": (
        "(top / 'f').mkdir(); (top / 'f' / 'a').write_bytes(b'1'); sync(top / 'f' / 'a'); sync(top / 'f'); sync(top)",
        {"f/a": b"1"},
    ),
}


@pytest.mark.parametrize("case", CUTS)
def test_a_power_cut_leaves_what_was_synced(injection: Injection, tmp_path: Path, top: Path, case: str) -> None:
    program, expected = CUTS[case]
    (top / "old").write_bytes(b"old")
    expected = expected if case in ("removed", "overwritten") else {"old": b"old", **expected}
    injection.keep_journal(top)
    child = _run(injection, textwrap.dedent(SYNC) + program, top)
    assert child.returncode == 0
    top.rename(tmp_path / "as-it-was")
    leave([injection.journal(child.pid)], top)
    assert {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()} == expected


def test_what_a_killed_process_left_unsynced_is_not_durable_for_the_next_one(
    injection: Injection, tmp_path: Path, top: Path
) -> None:
    first = _run_journaled(injection, "(top / 'a').write_bytes(b'1'); (top / 'b').write_bytes(b'1'); sync(top)", top)
    second = _run_journaled(injection, "assert (top / 'a').read_bytes() == b'1'; sync(top / 'b')", top)
    top.rename(tmp_path / "as-it-was")
    leave([injection.journal(child.pid) for child in (first, second)], top)
    assert {path.name: path.read_bytes() for path in top.iterdir()} == {"a": b"", "b": b"1"}


def test_a_torn_file_holds_in_each_sector_a_state_it_went_through(
    injection: Injection, tmp_path: Path, top: Path
) -> None:
    program = """
        fd = os.open(top / "a", os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"1" * 2048, 0)
        os.fsync(fd)
        os.pwrite(fd, b"2" * 1024, 512)
        os.pwrite(fd, b"3" * 512, 1024)
        os.pwrite(fd, b"4" * 1024, 3072)
        """
    child = _run_journaled(injection, program + "sync(top)", top)
    top.rename(tmp_path / "as-it-was")
    seen = set()
    for seed in range(200):
        leave([injection.journal(child.pid)], top, Random(seed))
        data = (top / "a").read_bytes()
        assert len(data) in (2048, 4096)
        seen.add("".join(data[at : at + 1].decode() for at in range(0, len(data), 512)).replace("\0", "0"))
        assert all(len(set(data[at : at + 512])) == 1 for at in range(0, len(data), 512))
        (top / "a").unlink()
        for left in top.iterdir():
            left.unlink()
        top.rmdir()
    states = ["1", "12", "123", "1", "0", "0", "04", "04"]
    assert all(digit in states[place] for each in seen for place, digit in enumerate(each))
    assert {"1111", "12310044"} <= seen
    assert len(seen) > 8


def _run_journaled(injection: Injection, program: str, top: Path) -> subprocess.Popen[str]:
    injection.keep_journal(top)
    child = _run(injection, textwrap.dedent(SYNC) + textwrap.dedent(program), top)
    assert child.returncode == 0
    return child
