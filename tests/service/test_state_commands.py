"""The commands that look into a state directory, on directories that a real spool has made."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import __version__
from agent.cli import app
from agent.cli.state import print_table
from agent.delivery.letters import dead_letter
from agent.errors import StateLocked, StateRefused
from agent.record import Run
from agent.spool import Kind, Part, Reader, Settings, Spool, State
from agent.stats import Health, Stats

REFUSED = "no such field: \x1b[2Jcolour"
LONG = "no JSON: " + 20 * "really, " + "none"


def settings(directory: Path) -> Settings:
    return Settings(directory=directory, durability="none", max_bytes=1 << 20, min_free_bytes=0, max_age=86400.0)


async def fill(directory: Path) -> str:
    """Ten records; the sink `lake` took three, and refused the fourth; `notes` took none. Gives that record's id."""
    now = time.time_ns() // 1_000_000
    records = [b'{"ts":1,"source":"t","tags":{},"fields":{"n":%d}}' % n for n in range(10)]
    readers = [Reader("lake", "all"), Reader("notes", "all")]
    part = Health().part("spool", "writer")
    async with Spool.open(settings(directory), readers, version=__version__, part=part, stats=Stats()) as spool:
        await spool.append([Part("all", "plant", records, now)])
        (cursor,) = spool.cursors("lake")
        run = await cursor.lane.read(0, 4, 1 << 20)
        assert isinstance(run, Run)
        letter = dead_letter("lake", run.segment_id, 3, records[3], REFUSED, 400, "the answer")
        bad = json.dumps({"id": None, "sink": "intake", "ts": now, "origin": "plant", "reason": LONG,
                          "tags": {"topic": "plant/7/state"}, "status": None, "answer": "",
                          "payload": base64.b64encode(b"\x80" * 1000).decode(), "encoding": "base64"})  # fmt: skip
        await spool.append([Part("dead", "lake", [letter, bad.encode()], now, Kind.DEAD)])
        for first, count, state in ((0, 3, State.DELIVERED), (3, 1, State.DEAD)):
            cursor.settle(cursor.plan(run.segment_id, first, count, 0), state)
        await cursor.save()
    return str(json.loads(letter)["id"])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def refused(state: Path) -> str:
    return asyncio.run(fill(state))


@pytest.fixture(autouse=True)
def _no_log_set_up() -> Iterator[None]:
    import logging

    import structlog

    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:], logging.root.level = handlers, level


def command(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        app([str(word) for word in words])
    return int(ended.value.code or 0)


def files(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


def test_spool_status_shows_who_has_come_how_far(state: Path, refused: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("spool", "status", "--state", state) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    names = rows["sink"]
    lake = dict(zip(names, rows["lake"], strict=True))
    assert (lake["lane"], lake["position"], lake["queued"], lake["delivered"], lake["dead"]) == (
        "all",
        "4",
        "6",
        "3",
        "1",
    )
    assert dict(zip(names, rows["notes"], strict=True))["queued"] == "10"
    assert command("spool", "status", "--state", state, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lanes"]["all"]["head"] == 10
    assert {cursor["sink"]: cursor["queued"] for cursor in found["cursors"]}["lake"] == 6
    assert found["trouble"] == []


def test_the_second_letter_of_a_retry_after_a_kill_is_not_listed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        part, stats = Health().part("spool", "writer"), Stats()
        async with Spool.open(settings(state), [], version=__version__, part=part, stats=stats) as spool:
            one = dead_letter("lake", 7, 3, b'{"ts":1,"source":"t","tags":{},"fields":{}}', REFUSED, 400, "")
            other = one.replace(b'"lake"', b'"notes"')
            for letters in ([one], [one, other], [b'{"id":null,"sink":"intake"}'], [b'{"id":null,"sink":"intake"}']):
                await spool.append([Part("dead", "lake", letters, 1, Kind.DEAD)])
            shutil.copytree(state / "lanes", state.with_name("lanes"))

    asyncio.run(main())
    # As a kill leaves it: nothing has come to the files.
    shutil.rmtree(state / "lanes")
    shutil.rmtree(state / "dead-letters", ignore_errors=True)
    shutil.move(state.with_name("lanes"), state / "lanes")
    assert command("dead-letters", "list", "--state", state, "--json") == 0
    assert [letter["sink"] for letter in json.loads(capsys.readouterr().out)] == ["lake", "notes", "intake", "intake"]


def test_dead_letters_are_listed_and_shown(state: Path, refused: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("dead-letters", "list", "--state", state) == 0
    out = capsys.readouterr().out
    assert refused in out
    assert "plant/7/state" in next(line for line in out.splitlines() if "intake" in line)
    assert LONG in out, "only a terminal has a width"
    assert r"no such field: \x1b[2Jcolour" in out, "a terminal must not obey what a far side has said"
    assert command("dead-letters", "list", "--state", state, "--sink", "lake", "--json") == 0
    (letter,) = json.loads(capsys.readouterr().out)
    assert (letter["id"], letter["reason"], letter["status"]) == (refused, REFUSED, 400)

    assert command("dead-letters", "show", refused, "--state", state) == 0
    shown = capsys.readouterr().out
    assert "the answer" in shown
    assert '{"ts":1,"source":"t","tags":{},"fields":{"n":3}}' in shown
    (bad,) = (line.split()[0] for line in out.splitlines() if "intake" in line)
    assert command("dead-letters", "show", bad, "--state", state) == 0
    assert "more bytes; --full shows them" in (cut := capsys.readouterr().out)
    assert r"\x80\x80" in cut
    assert command("dead-letters", "show", bad, "--state", state, "--full") == 0
    assert capsys.readouterr().out.count(r"\x80") == 1000
    assert command("dead-letters", "show", "nothing", "--state", state) == 64
    assert "no dead letter nothing" in capsys.readouterr().err


def test_books_that_balance_are_printed_with_their_sum(
    state: Path, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("audit", "--state", state) == 0
    out = capsys.readouterr().out
    lake = next(line.split() for line in out.splitlines() if line.startswith("lake"))
    assert lake[:3] == ["lake", "all", "10"]
    assert sum(map(int, lake[3:])) == 10
    assert "every record is accounted for" in out
    assert command("audit", "--state", state, "--json") == 0
    assert json.loads(capsys.readouterr().out)["balanced"] is True


@pytest.mark.parametrize(
    "behind_its_back",
    [
        lambda state: next((state / "lanes" / "all").glob("lake*.cursor")).unlink(),
        lambda state: [path.unlink() for path in (state / "dead-letters").glob("*.ndjson")],
    ],
    ids=["a cursor", "a dead letter"],
)
def test_what_is_missing_makes_it_fail_and_name_the_sink(
    state: Path, refused: str, capsys: pytest.CaptureFixture[str], behind_its_back: object
) -> None:
    assert callable(behind_its_back)
    behind_its_back(state)
    assert command("audit", "--state", state, "--json") == 74
    said = capsys.readouterr()
    assert said.err == "the books of lake do not balance\n"
    found = json.loads(said.out)
    assert found["balanced"] is False
    assert "lake" in {finding["sink"] for finding in found["findings"]}


def test_looking_changes_nothing_and_needs_no_lock(
    state: Path, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(state)

    async def beside() -> None:
        readers = [Reader("lake", "all"), Reader("notes", "all")]
        part = Health().part("spool", "writer")
        async with Spool.open(settings(state), readers, version=__version__, part=part, stats=Stats()):
            for words in (("spool", "status"), ("audit",), ("dead-letters", "list")):
                assert await asyncio.to_thread(command, *words, "--state", state) == 0

    for words in (("spool", "status"), ("audit",), ("dead-letters", "list"), ("dead-letters", "show", refused)):
        assert command(*words, "--state", state) == 0
    assert files(state) == before
    asyncio.run(beside())


def test_the_configuration_says_where_without_its_secrets_being_there(
    state: Path, refused: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[spool]\ndirectory = "state"\n[sinks.lake]\ntype = "obsrv"\ntoken = "${NOT_SET_HERE:?set it}"\n')
    assert command("audit", "--config", config) == 0
    assert str(state) in capsys.readouterr().out
    assert command("audit", "--config", tmp_path / "none.toml") == 78


def test_what_is_no_state_directory_is_not_taken_for_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for words in (("audit",), ("spool", "status"), ("dead-letters", "list"), ("dead-letters", "show", "x-1")):
        for directory in (tmp_path / "empty", tmp_path / "none"):
            assert command(*words, "--state", directory) == 74
            said = capsys.readouterr()
            text = f'{directory}: not a state directory (no file "format"); give --state the [spool] directory\n'
            assert (said.out, said.err) == ("", text)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that others may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_whoever_may_not_read_the_state_directory_is_told_who_may(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = open_folder / "state"
    asyncio.run(fill(state))

    async def second() -> None:
        part = Health().part("spool", "writer")
        async with Spool.open(settings(state), [], version=__version__, part=part, stats=Stats()):
            pass

    told = "permission denied for the user nobody; run as the agent's user or root" if os.geteuid() == 0 else "denied"
    for mode in (0, 0o755):  # the directory itself, or what is in it
        state.chmod(mode)
        if mode and os.geteuid() != 0:
            (state / "format").chmod(0)
        with as_nobody():
            for words in (("audit",), ("spool", "status")):
                assert command(*words, "--state", state) == 77
                said = capsys.readouterr().err
                assert said.startswith(f"{state}/format: permission denied for the user ")
                assert told in said
            with pytest.raises(StateRefused, match=told):
                asyncio.run(second())
        state.chmod(0o755)


def test_a_configuration_that_may_not_be_read_is_like_a_missing_one(
    open_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = open_folder / "agent.toml"
    config.touch(0)
    for words in (("check",), ("once",), ("audit",)):
        with as_nobody():
            assert command(*words, "--config", config) == 78
        assert capsys.readouterr().err == f"{config}: cannot be read: Permission denied\n"


def test_a_second_agent_is_told_what_to_do(state: Path, refused: str) -> None:
    async def beside() -> None:
        readers = [Reader("lake", "all")]
        part = Health().part("spool", "writer")
        async with Spool.open(settings(state), readers, version=__version__, part=part, stats=Stats()):
            with pytest.raises(StateLocked, match=r"; stop it, or give this one its own \[spool\] directory$"):
                async with Spool.open(settings(state), readers, version=__version__, part=part, stats=Stats()):
                    pass

    asyncio.run(beside())


def test_a_state_directory_of_a_newer_version_is_left_alone(
    state: Path, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "format").write_text("99 9.9.9\n")
    before = files(state)
    for words in (("spool", "status"), ("audit",), ("dead-letters", "list")):
        assert command(*words, "--state", state) == 78
        assert "9.9.9" in capsys.readouterr().err
    assert files(state) == before


def test_columns_of_a_table_stand_under_each_other_in_korean_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n"), [("대시보드", 1), ("cafe\u0301", 22), ("host", 3)])
    assert capsys.readouterr().out.splitlines() == [
        "name       n",
        "대시보드   1",  # eight columns on a terminal
        "cafe\u0301      22",
        "host       3",
    ]
