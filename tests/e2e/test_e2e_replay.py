"""Dead letters given back, or dropped: beside a running agent, without one, and through crashes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import AgentProcess, wait_for
from publisher import Publisher
from scene import (
    AGENT,
    DATASET,
    Background,
    Books,
    Cloud,
    broker,
    cloud,
    mqtt_collector,
    obsrv_sink,
    settled,
    subscribed,
    uid,
)

from agent import __version__
from agent.delivery.letters import dead_letter
from agent.record import Run
from agent.spool import Kind, Part, Reader, Report, Settings, Spool, State, audit, inventory
from agent.spool.letter_files import files
from agent.stats import Health, Stats

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
HOST = '[collectors.machine]\ntype = "host"\ngroups = ["load"]\ninterval = "1h"\n'
BAD = '"bad":true'

# As `telemetry-agent run`, by another user: who may not enter where Python and the source are, so all is loaded before.
AS_ANOTHER = """
import importlib, os, pkgutil, sys
import agent, encodings
SKIPPED = "agent.sandbox", "agent.cli", "agent.__main__", "encodings.mbcs", "encodings.oem"
for package in (agent, encodings):
    for found in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
        if not found.name.startswith(SKIPPED):
            importlib.import_module(found.name)
import concurrent.futures.thread, agent.cli.run
os.setgroups([]), os.setgid({user}), os.setuid({user})
sys.exit(agent.cli.run.main(["--config", {config!r}]))
"""


class Service(AgentProcess):
    """An agent that runs as a user of its own, where the tests are root's."""

    def start(self, *, ready: bool = True) -> AgentProcess:
        if not IS_ROOT:
            return super().start(ready=ready)
        give(self.folder)
        program = AS_ANOTHER.format(user=NOBODY, config=str(self.config))
        with self.log.open("ab") as out:
            self.child = subprocess.Popen([sys.executable, "-c", program], stdout=out, stderr=subprocess.STDOUT)
        if ready:
            wait_for("the agent to be ready", self.is_ready)
        return self


def give(folder: Path) -> None:
    """The folder and all in it are the service's."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the service's user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def rights(state: Path) -> dict[str, tuple[int, int, int]]:
    """Owner, group and mode of everything in a state directory."""
    out = {}
    for path in [state, *state.rglob("*")]:
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue  # segments come and go
        out[str(path.relative_to(state))] = (found.st_uid, found.st_gid, found.st_mode)
    return out


def assert_rights_are_kept(before: dict[str, tuple[int, int, int]], state: Path) -> None:
    """What was there is as it was, and nothing is there that is another's."""
    after = rights(state)
    assert {name: after[name] for name in after.keys() & before.keys()} == {
        name: before[name] for name in after.keys() & before.keys()
    }
    assert {owner[:2] for owner in after.values()} == {before["."][:2]}


def letters(agent: AgentProcess) -> list[dict[str, Any]]:
    """What `dead-letters list` would show."""
    return inventory.look(agent.state / "dead-letters").letters


def balanced(agent: AgentProcess) -> Report:
    """As `audit` finds them."""
    report = audit(agent.state)
    assert report.balanced, report.findings
    return report


def done(run: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    """What a command has said with --json."""
    assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
    return dict(json.loads(run.stdout))


def fill(state: Path, count: int, *, sink: str = "lake", intake: int = 0) -> list[str]:
    """A state directory with so many letters of a sink, and some of intake; the ids of the former."""

    async def main() -> list[str]:
        now = time.time_ns() // 1_000_000
        bodies = [
            b'{"ts":%d,"source":"mqtt.plant","tags":{},"fields":{"uid":"%b","bad":true}}' % (now + n, uid(n).encode())
            for n in range(count)
        ]
        settings = Settings(directory=state, max_bytes=64 << 20, min_free_bytes=0, durability="none")
        part = Health().part("spool", "writer")
        async with Spool.open(settings, [Reader(sink, "all")], version=__version__, part=part, stats=Stats()) as spool:
            await spool.append([Part("all", "plant", bodies, now)])
            (cursor,) = spool.cursors(sink)
            letters: list[bytes] = []
            while cursor.position < count:
                run = await cursor.lane.read(cursor.position, 1000, 1 << 20)
                assert isinstance(run, Run)
                for index, record in enumerate(run.records(), run.first):
                    letters.append(dead_letter(sink, run.segment_id, index, record, "no", 400, "not like this"))
                cursor.book(run.count, State.DEAD)
            broken = {"id": None, "sink": "intake", "ts": now, "reason": "no JSON", "payload": "", "encoding": "utf8"}
            letters += [json.dumps(broken).encode() for _ in range(intake)]
            await spool.append([Part("dead", f"sink.{sink}", letters, now, Kind.DEAD)])
            await cursor.save()
        return [json.loads(letter)["id"] for letter in letters[:count]]

    return asyncio.run(main())


@pytest.mark.mosquitto
def test_beside_a_service_under_load_what_was_refused_is_given_back_and_nothing_changes_hands(folder: Path) -> None:
    """The far side refuses some records by their content until it is mended; meanwhile others flow all the time."""
    bad = range(0, 400, 10)

    def payload(number: int) -> bytes:
        return json.dumps(
            {"uid": uid(number), **({"bad": True} if number in bad else {})}, separators=(",", ":")
        ).encode()

    with broker(folder) as plant, cloud(folder / "cloud") as far:
        config = AGENT + mqtt_collector(plant.url) + obsrv_sink(far.url)
        with Service(folder / "agent", config) as agent:
            agent.start()
            subscribed(agent)
            far.fault("refuse_containing", text=BAD)
            publisher = Publisher(plant.port, "first")
            publisher.publish(range(400), payload)
            wait_for("the letters", lambda: settled(agent, 400) and len(letters(agent)) == len(bad))
            far.heal()
            stop = False

            def flow() -> int:
                number = 400
                while not stop:
                    publisher.publish(range(number, number + 50), payload)
                    number += 50
                return number

            flowing = Background(flow)
            before = rights(agent.state)
            outcome = done(agent.command("dead-letters", "replay", "--sink", "lake", "--json"))
            during = Books.of(far)
            stop = True
            count = flowing.result()
            publisher.close()
            assert outcome["replayed"] == {"lake": len(bad)}
            assert outcome["stays"] == []
            assert all(during.stored[uid(n)] == 1 for n in bad)
            wait_for("the flow to end", lambda: settled(agent, count))
            books = Books.of(far)
            assert (books.missing(set(range(count))), books.twice(), books.conflicts) == ([], 0, 0)
            assert letters(agent) == []
            assert_rights_are_kept(before, agent.state)
            balanced(agent)
            assert agent.stop() == 0
            assert_rights_are_kept(before, agent.state)
            assert balanced(agent).dead_replayed == {"lake": len(bad)}
            assert "dead letters were gone through" in agent.text()


@contextmanager
def prepared(folder: Path, far: Cloud, count: int, **more: Any) -> Iterator[tuple[Service, list[str]]]:
    """An agent that is not started yet, on a state directory with letters."""
    agent = Service(folder / "agent", AGENT + HOST + obsrv_sink(far.url))
    ids = fill(agent.state, count, **more)
    if IS_ROOT:
        give(agent.folder)
    with agent:
        yield agent, ids


@pytest.mark.parametrize("is_running", [True, False], ids=["with an agent", "without"])
def test_each_letter_meets_what_it_meets(folder: Path, is_running: bool) -> None:
    """One is refused again, those of intake never were records, the rest is taken; then the far side goes away."""
    with cloud(folder / "cloud") as far, prepared(folder, far, 60, intake=2) as (agent, ids):
        before = rights(agent.state)
        if is_running:
            agent.start()
        far.fault("refuse_containing", text='"m-7"')
        outcome = done(agent.command("dead-letters", "replay", "--all", "--json"), 65)
        assert outcome["replayed"] == {"lake": 59}
        assert outcome["refused"] == {"lake": 1}
        assert outcome["impossible"] == {"intake": 2}
        stays = {each["id"]: each for each in outcome["stays"]}
        assert stays.pop(ids[7])["how"] == "refused"
        assert all("never became a record" in each["reason"] for each in stays.values())
        assert all(f"dead-letters show {name}" in each["reason"] for name, each in stays.items())
        assert {letter["id"] for letter in letters(agent)} == {ids[7], None}
        stored = far.stored_ids(DATASET)
        assert [n for n in range(60) if stored[uid(n)] != 1] == [7]

        far.heal()
        far.fault("unavailable")
        text = agent.command("dead-letters", "replay", "--id", ids[7])
        assert text.returncode == 69, (text.stdout, text.stderr)
        assert "stopped at lake, 1 of it stay" in text.stdout
        far.heal()
        if is_running:
            wait_for("the sink to have recovered", lambda: agent.status()["sinks"]["lake"]["queued"] == 0)
        text = agent.command("dead-letters", "replay", "--id", ids[7])
        assert text.returncode == 0, (text.stdout, text.stderr)
        assert text.stdout == "1 taken by lake\n"
        assert far.stored_ids(DATASET)[uid(7)] == 1
        balanced(agent)
        if is_running:
            assert agent.stop() == 0
        assert_rights_are_kept(before, agent.state)
        report = json.loads(agent.command("audit", "--json", check=True).stdout)
        assert (report["dead_letters"], report["dead_replayed"]) == ({"intake": 2}, {"lake": 60})
        assert far.report()["conflicts"] == []


@pytest.mark.parametrize("is_running", [True, False], ids=["with an agent", "without"])
def test_what_is_dropped_is_gone_and_counted(folder: Path, is_running: bool) -> None:
    with cloud(folder / "cloud") as far, prepared(folder, far, 30, intake=3) as (agent, ids):
        before = rights(agent.state)
        if is_running:
            agent.start()
        assert done(agent.command("dead-letters", "drop", "--sink", "intake", "--yes", "--json"))["dropped"] == {
            "intake": 3
        }
        named = [word for each in ids[:4] for word in ("--id", each)]
        assert done(agent.command("dead-letters", "drop", *named, "--yes", "--json"))["dropped"] == {"lake": 4}
        assert [letter["id"] for letter in letters(agent)] == ids[4:]
        assert agent.command("dead-letters", "drop", "--all", "--yes").stdout == "26 of lake dropped\n"
        assert files(agent.state / "dead-letters") == []
        balanced(agent)
        if is_running:
            assert agent.stop() == 0
        assert_rights_are_kept(before, agent.state)
        assert balanced(agent).dead_dropped == {"intake": 3, "lake": 30}
        assert _stored(far) == 0


@pytest.mark.parametrize(
    "who",
    [
        "the agent",
        "the command",
        # A kill is the harder end: what these two add to it is looked at where there is time.
        pytest.param("the command alone", marks=pytest.mark.soak),
        pytest.param("an operator, gently", marks=pytest.mark.soak),
    ],
)
def test_an_end_in_the_middle_loses_nothing_and_sends_nothing_twice(folder: Path, who: str) -> None:
    count = 120
    with cloud(folder / "cloud") as far, prepared(folder, far, count) as (agent, _):
        if who != "the command alone":
            agent.start()
        far.fault("slow", seconds=0.005)
        command = [sys.executable, "-m", "agent", "dead-letters", "replay", "--all", "--config", str(agent.config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            wait_for("half of them", lambda: _stored(far) > count // 4)
            if who == "the agent":
                agent.kill()
                out, error = child.communicate(timeout=30)
                assert child.returncode == 75, (out, error)
                assert "ended before it was done" in error
            elif who == "an operator, gently":
                child.send_signal(signal.SIGINT)
                out, error = child.communicate(timeout=30)
                assert child.returncode == 75, (out, error)
                assert "interrupted" in error
            else:
                child.send_signal(signal.SIGKILL)
                child.wait(10)
        balanced(agent)
        if who in ("the command", "an operator, gently"):
            # What was being done for it ends, and the next is served.
            wait_for("the agent to see it", lambda: "dead letters were gone through" in agent.text())
        else:
            far.heal()
            agent.start()
        left = len(letters(agent))
        assert 0 < left < count
        outcome = done(agent.command("dead-letters", "replay", "--all", "--json"))
        assert outcome["replayed"] == {"lake": left}
        assert letters(agent) == []
        balanced(agent)
        assert agent.stop() == 0
        balanced(agent)
        books = Books.of(far)
        del books.stored[""]  # this machine's own
        assert (books.missing(set(range(count))), books.twice(), books.conflicts) == ([], 0, 0)


def _stored(far: Cloud) -> int:
    return sum(count for name, count in far.stored_ids(DATASET).items() if name)
