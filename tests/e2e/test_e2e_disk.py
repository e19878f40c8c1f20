"""Disks that are full, read-only, or filled with rubbish: the agent runs on, says so once, and recovers by itself."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from processes import AgentProcess, wait_for
from scene import (
    HASTY_AGENT,
    Books,
    assert_books_balance,
    broker,
    cloud,
    health,
    metric,
    mqtt_collector,
    obsrv_sink,
    publish,
    say,
    settled,
    spool,
    subscribed,
)

pytestmark = pytest.mark.mosquitto

CLOSED = "spool takes nothing in"
PAD = 1000


def _payload(number: int) -> bytes:
    return b'{"uid":"m-%d","pad":"%s"}' % (number, b"x" * PAD)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        missing = f"cannot mount ({done.stderr.strip()}): the tests of full and read-only disks need root and mounts"
        sys.stderr.write(f"\n*** {missing} ***\n")
        pytest.skip(missing)


@contextlib.contextmanager
def _small_disk(place: Path, size: str, *options: str) -> Iterator[Path]:
    """A filesystem of that size. Whoever works on it has to be gone before it is left."""
    if os.geteuid() != 0:
        missing = "not root: the tests of full and read-only disks need mounts, and are skipped"
        sys.stderr.write(f"\n*** {missing} ***\n")
        pytest.skip(missing)
    place.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _closed(agent: AgentProcess) -> bool:
    return health(agent, "ready")[0] == 503


def _open(agent: AgentProcess) -> bool:
    return health(agent, "ready")[0] == 200


def test_a_disk_that_the_backlog_fills_pauses_intake_until_the_sink_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 12_000  # half as much again as fits
    with (
        broker(tmp_path) as plant,
        cloud(tmp_path) as far,
        _small_disk(tmp_path / "agent" / "state", "8m"),
    ):
        # Limits beyond the disk: the operator wants nothing to be given up for room.
        limits = spool(max_bytes="64MiB", min_free_bytes="0B")
        config = HASTY_AGENT + limits + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            far.fault("unavailable")
            acknowledged = publish(plant, range(count), payload=_payload)
            wait_for("intake to close", lambda: _closed(agent))
            reason = health(agent, "ready")[1]["reason"]
            assert "no space left" in reason.lower()
            assert 0 < agent.status()["sinks"]["lake"]["queued"] < count
            # It is tried in vain to open it again, and not a word more is said.
            said = agent.text().count("\n")
            since = time.monotonic()
            wait_for("a try", lambda: time.monotonic() - since > 5.2)
            assert agent.text().count(CLOSED) == 1
            assert agent.text().count("\n") - said <= 1
            far.heal()
            wait_for("all to be settled", lambda: settled(agent, count), 50)
            assert _open(agent)
            books = Books.of(far)
            assert books.missing(acknowledged) == []
            assert books.conflicts == 0
            assert books.twice() == 0
            ledger = agent.status()["sinks"]["lake"]["ledger"]
            assert ledger["delivered"] == count
            closed = agent.text().count(CLOSED)
            say(capsys, f"{count * PAD >> 20} MiB through a disk of 8 MiB; closed {closed} times")
            assert 1 <= closed <= 10
            assert agent.stop() == 0
            assert_books_balance(agent)


# In short: the row disk-full of tests/faults.
@pytest.mark.soak
def test_a_disk_that_others_fill_stops_intake_and_not_the_agent(tmp_path: Path) -> None:
    with (
        broker(tmp_path) as plant,
        cloud(tmp_path) as far,
        _small_disk(tmp_path / "agent" / "state", "16m") as disk,
    ):
        limits = spool(max_bytes="8MiB", min_free_bytes="0B")
        with AgentProcess(
            tmp_path / "agent", HASTY_AGENT + limits + mqtt_collector(plant.url) + obsrv_sink(far.url)
        ) as agent:
            agent.start()
            subscribed(agent)
            acknowledged = publish(plant, range(1000), payload=_payload)
            wait_for("the first to be settled", lambda: settled(agent, 1000))
            ballast = disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as rubbish:
                while rubbish.write(b"\0" * 65536):
                    pass
            acknowledged |= publish(plant, range(1000, 4000), payload=_payload)
            wait_for("intake to close", lambda: _closed(agent))
            # Nothing is closed but intake: the far side got all that was stored, and the pages answer.
            assert health(agent, "live")[0] == 200
            assert health(agent, "delivery")[0] == 200
            ballast.unlink()
            wait_for("intake to open by itself", lambda: _open(agent))
            wait_for("all to be settled", lambda: settled(agent, 4000))
            assert Books.of(far).missing(acknowledged) == []
            assert Books.of(far).twice() == 0
            assert agent.text().count(CLOSED) == 1
            assert agent.stop() == 0
            assert_books_balance(agent)


# In short: the row disk-read-only of tests/faults.
@pytest.mark.soak
def test_a_state_directory_that_turns_read_only_and_back_costs_nothing(tmp_path: Path) -> None:
    state = tmp_path / "agent" / "state"
    with broker(tmp_path) as plant, cloud(tmp_path) as far, _small_disk(state, "32m"):
        limits = spool(max_bytes="8MiB", min_free_bytes="0B")
        with AgentProcess(
            tmp_path / "agent", HASTY_AGENT + limits + mqtt_collector(plant.url) + obsrv_sink(far.url)
        ) as agent:
            agent.start()
            subscribed(agent)
            acknowledged = publish(plant, range(500), payload=_payload)
            wait_for("the first to be settled", lambda: settled(agent, 500))
            # A filesystem with files open for writing is not remounted; one that is laid over it can be read-only,
            # and from the next segment on the agent meets nothing else.
            _mount("--bind", str(state), str(state))
            try:
                _mount("-o", "remount,bind,ro", str(state))
                acknowledged |= publish(plant, range(500, 4000), payload=_payload)
                wait_for("intake to close", lambda: _closed(agent))
                assert "Read-only" in health(agent, "ready")[1]["reason"]
                assert health(agent, "live")[0] == 200
            finally:
                subprocess.run(["umount", str(state)], check=True)
            wait_for("intake to open by itself", lambda: _open(agent))
            wait_for("all to be settled", lambda: settled(agent, 4000))
            assert agent.text().count(CLOSED) == 1

            # The same at the start: it runs, delivers nothing new, and takes up its work once it may write.
            far.fault("unavailable")
            acknowledged |= publish(plant, range(4000, 4500), payload=_payload)
            wait_for("a backlog", lambda: agent.status()["sinks"]["lake"]["queued"] == 500)
            assert agent.stop() == 0
            _mount("-o", "remount,ro", str(state))
            acknowledged |= publish(plant, range(4500, 5000), payload=_payload)
            agent.start(ready=False)
            wait_for("it to run and say so", lambda: _closed(agent))
            assert health(agent, "live")[0] == 200
            far.heal()
            _mount("-o", "remount,rw", str(state))
            wait_for("intake to open by itself", lambda: _open(agent))
            wait_for("all to be settled", lambda: settled(agent, 5000))
            books = Books.of(far)
            assert books.missing(acknowledged) == []
            assert books.twice() == 0
            assert books.conflicts == 0
            assert agent.text().count(CLOSED) == 2
            assert agent.stop() == 0
            assert_books_balance(agent)


DAY = 8_640_000  # payloads at 100 a second
LIMIT = 64 * 1_048_576  # of dead letters, as shipped


FLOOD = 10_000  # payloads at once


def _has_refused(agent: AgentProcess, count: int) -> bool:
    return metric(agent, "agent_intake_refused_total", reason="bad") >= count


def _garbage(tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int) -> None:
    limit = LIMIT * count // DAY
    with broker(tmp_path) as plant, cloud(tmp_path) as far:
        config = HASTY_AGENT + spool(dead_max_bytes=f"{limit}B") + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with AgentProcess(tmp_path / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            letters = agent.state / "dead-letters"
            largest = 0
            for start in range(0, count, FLOOD):
                flood = range(start, start + FLOOD)
                publish(plant, flood, payload=lambda n: b'{"uid":"m-%d", broken' % n)
                wait_for("it to be refused", partial(_has_refused, agent, flood.stop))
                largest = max(largest, _size(letters))
            publish(plant, range(count, count + 10), payload=_payload)
            wait_for("the good ones", lambda: settled(agent, 10))
            refused = metric(agent, "agent_intake_refused_total", reason="bad")
            assert refused == count
            wait_for("all letters to be in their files", lambda: metric(agent, "agent_dead_letters_total") == count)
            largest = max(largest, _size(letters))
            assert agent.stop() == 0
            report = agent.command("audit", "--json", check=True).stdout
            books = json.loads(report)
            kept, dropped = books["dead_letters"]["intake"], books["dead_dropped"]["intake"]
            say(
                capsys,
                f"{count} garbage payloads: {kept} kept, {dropped} dropped and counted; "
                f"{largest} bytes at most on disk, the limit is {limit}",
            )
            assert kept + dropped == count
            assert kept > 0
            assert largest <= limit
            assert_books_balance(agent)


def _size(directory: Path) -> int:
    total = 0
    for path in directory.glob("*.ndjson"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_a_flood_of_garbage_stays_inside_the_limit_of_dead_letters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    _garbage(tmp_path, capsys, count)


@pytest.mark.soak
def test_a_day_of_garbage_at_a_hundred_a_second_stays_inside_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _garbage(tmp_path, capsys, DAY)
