"""`audit` on the state directory of a whole agent: it balances, until something is taken out behind its back."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import AgentProcess, wait_for
from scene import (
    HASTY_AGENT,
    audit,
    broker,
    cloud,
    dead_letters,
    mqtt_collector,
    obsrv_sink,
    publish,
    settled,
    subscribed,
)

pytestmark = pytest.mark.mosquitto

NOT_BALANCED = 74

# Frames as docs/spool-format.md has them, read here without the agent's own code.
FRAME = b"\xf6\x00TAfrm\n"
SEGMENT_HEADER = 256
HEADER = struct.Struct("<8sBBHQQQIIIIII")  # up to the bytes of the body
HEADER_BYTES = 116


def _frames(segment: bytes) -> list[tuple[int, int]]:
    """From where to where each frame of a segment goes."""
    found, at = [], SEGMENT_HEADER
    while segment[at : at + 8] == FRAME:
        *_, count, origin, packets, hashes, further, body = HEADER.unpack_from(segment, at)
        size = HEADER_BYTES + origin + 4 * count + packets + hashes + further + body
        found.append((at, at + size))
        at += size
    return found


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """Stopped, with two lanes: the lake has taken some, refused three and is behind; `alarms` has taken nothing."""
    place = tmp_path_factory.mktemp("audited")
    with broker(place) as plant, cloud(place, "telemetry", "alarms") as far:
        config = (
            HASTY_AGENT
            + mqtt_collector(plant.url, "plant/{kind}/{device}")
            + obsrv_sink(far.url)
            + obsrv_sink(far.url, "alarms", dataset="alarms", more='where = { kind = "alarm" }')
        )
        with AgentProcess(place / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            for bad in ("11", "22", "33"):
                far.fault("refuse_containing", text=f'"uid":"m-{bad}"')
            far.fault("unavailable", dataset="alarms")
            publish(plant, range(300), topic=lambda n: f"plant/{'alarm' if n % 10 == 0 else 'state'}/{n % 7}")
            wait_for("the letters", lambda: settled(agent, 300) and len(dead_letters(agent)) == 3)
            far.fault("unavailable")
            for wave in range(300, 600, 50):  # each makes a frame or more
                publish(plant, range(wave, wave + 50), topic=lambda n: f"plant/alarm/{n % 7}")
                wait_for("the wave", lambda end=wave + 50: agent.status()["spool"]["lanes"]["all"]["head"] == end)
            assert agent.stop() == 0
            yield agent


@pytest.fixture
def state(agent: AgentProcess, tmp_path: Path) -> Path:
    """A copy of its state directory, to be tampered with."""
    return Path(shutil.copytree(agent.state, tmp_path / "state"))


def _audit(agent: AgentProcess, state: Path) -> subprocess.CompletedProcess[str]:
    return agent.command("audit", "--state", str(state))


def _assert_blames(found: subprocess.CompletedProcess[str], sink: str, *, others: tuple[str, ...] = ()) -> None:
    assert found.returncode == NOT_BALANCED, (found.stdout, found.stderr)
    assert f"the books of {sink} do not balance" in found.stderr, found.stderr
    for other in others:
        assert other not in found.stderr


def test_the_books_of_a_whole_agent_balance(agent: AgentProcess, state: Path) -> None:
    found = audit(agent)
    assert found.returncode == 0, (found.stdout, found.stderr)
    report = json.loads(agent.command("audit", "--json", check=True).stdout)
    books = {each["sink"]: each for each in report["cursors"]}
    assert (books["lake"]["ledger"]["delivered"], books["lake"]["ledger"]["dead"]) == (297, 3)
    assert books["lake"]["queued"] == 300
    assert books["alarms"]["queued"] == 330
    assert report["dead_letters"] == {"lake": 3}
    assert _audit(agent, state).returncode == 0


@pytest.mark.parametrize("which", [0, 1, -2, -1], ids=["first", "second", "last but one", "last"])
def test_a_frame_removed_is_found_and_the_sink_named(agent: AgentProcess, state: Path, which: int) -> None:
    segment = max((state / "lanes" / "all").glob("*.seg"), key=lambda path: path.stat().st_size)
    data = segment.read_bytes()
    frames = _frames(data)
    assert len(frames) >= 6
    start, end = frames[which]
    segment.write_bytes(data[:start] + data[end:])
    _assert_blames(_audit(agent, state), "lake", others=("alarms",))


def test_a_cursor_removed_is_found_and_the_sink_named(agent: AgentProcess, state: Path) -> None:
    [cursor] = state.glob("lanes/*/alarms.cursor")
    cursor.unlink()
    _assert_blames(_audit(agent, state), "alarms", others=("lake",))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_dead_letter_removed_is_found_and_the_sink_named(agent: AgentProcess, state: Path, which: int) -> None:
    [file] = state.glob("dead-letters/*.ndjson")
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    del lines[which]
    file.write_bytes(b"".join(lines))
    _assert_blames(_audit(agent, state), "lake", others=("alarms",))


def test_a_file_of_dead_letters_removed_is_found_and_the_sink_named(agent: AgentProcess, state: Path) -> None:
    [file] = state.glob("dead-letters/*.ndjson")
    file.unlink()
    _assert_blames(_audit(agent, state), "lake", others=("alarms",))


def test_the_segments_of_a_lane_removed_are_found_and_the_sink_named(agent: AgentProcess, state: Path) -> None:
    [cursor] = state.glob("lanes/*/alarms.cursor")
    for segment in cursor.parent.glob("*.seg"):
        segment.unlink()
    _assert_blames(_audit(agent, state), "alarms", others=("lake",))
