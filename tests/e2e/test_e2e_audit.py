"""`audit` on the state directory of a whole agent: it balances, until something is taken out behind its back."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
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


def _has_head(agent: AgentProcess, head: int) -> bool:
    return bool(agent.status()["spool"]["lanes"]["all"]["head"] == head)


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
                wait_for("the wave", partial(_has_head, agent, wave + 50))
            assert agent.stop() == 0
            yield agent


def _without_frame(which: int) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        segment = max((state / "lanes" / "all").glob("*.seg"), key=lambda path: path.stat().st_size)
        data = segment.read_bytes()
        frames = _frames(data)
        assert len(frames) >= 6
        start, end = frames[which]
        segment.write_bytes(data[:start] + data[end:])

    return tamper


def _without_letter(which: int) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        [file] = state.glob("dead-letters/*.ndjson")
        lines = file.read_bytes().splitlines(keepends=True)
        assert len(lines) == 3
        del lines[which]
        file.write_bytes(b"".join(lines))

    return tamper


def _without(pattern: str) -> Callable[[Path], None]:
    def tamper(state: Path) -> None:
        found = list(state.glob(pattern))
        assert found
        for path in found:
            path.unlink()

    return tamper


# What is taken out, and whose books no longer balance.
TAMPERED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "the first frame": ("lake", _without_frame(0)),
    "the second frame": ("lake", _without_frame(1)),
    "the last frame but one": ("lake", _without_frame(-2)),
    "the last frame": ("lake", _without_frame(-1)),
    "the lake's cursor": ("lake", _without("lanes/*/lake.cursor")),
    "the alarms' cursor": ("alarms", _without("lanes/*/alarms.cursor")),
    "the first dead letter": ("lake", _without_letter(0)),
    "the second dead letter": ("lake", _without_letter(1)),
    "the last dead letter": ("lake", _without_letter(2)),
    "the file of dead letters": ("lake", _without("dead-letters/*.ndjson")),
    "the log of the lake": ("lake", _without("lanes/all/*.seg")),
    "the log of the alarms": ("alarms", _without("lanes/sel-*/*.seg")),
}
Verdicts = dict[str, tuple[int, str, str]]


@pytest.fixture(scope="module")
def verdicts(agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What `audit` says of copies, each with something taken out; all asked at once, as each looks several times."""
    place = tmp_path_factory.mktemp("tampered")
    asked = {}
    for name, (_, tamper) in TAMPERED.items():
        state = Path(shutil.copytree(agent.state, place / name.replace(" ", "-")))
        tamper(state)
        command = [sys.executable, "-m", "agent", "audit", "--state", str(state)]
        asked[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = {name: child.communicate(timeout=60) for name, child in asked.items()}
    return {name: (child.returncode, *said[name]) for name, child in asked.items()}


def test_the_books_of_a_whole_agent_balance(agent: AgentProcess) -> None:
    found = audit(agent)
    assert found.returncode == 0, (found.stdout, found.stderr)
    report = json.loads(agent.command("audit", "--json", check=True).stdout)
    books = {each["sink"]: each for each in report["cursors"]}
    assert (books["lake"]["ledger"]["delivered"], books["lake"]["ledger"]["dead"]) == (297, 3)
    assert books["lake"]["queued"] == 300
    assert books["alarms"]["queued"] == 330
    assert report["dead_letters"] == {"lake": 3}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_is_taken_out_behind_its_back_is_found_and_the_sink_named(verdicts: Verdicts, what: str) -> None:
    sink, _ = TAMPERED[what]
    code, out, error = verdicts[what]
    assert code == NOT_BALANCED, (out, error)
    assert error.strip() == f"the books of {sink} do not balance", out
