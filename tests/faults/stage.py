"""
Where a row is played: broker, clouds and agent as processes, publishers with their files of ids.

    @fault("far-503")
    def far_503(stage: Stage) -> None:
        with stage.scene() as scene:            # Mosquitto, one cloud, one agent: started, subscribed
            scene.cloud.fault("unavailable")
            scene.publish(range(1000), rate=500)
            scene.cloud.heal()
            scene.settle()                      # until all has come to an end, then the agent is stopped

Leaving the block judges by the files and adds to `stage.outcome`. What does not fit is put together by hand out of
`Scene` and `Receiver`, or adds an `Outcome` of its own.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from brokers import Broker
from e2e import scene as e2e
from processes import AgentProcess, get, wait_for
from publisher import Publisher, state_payload

from agent.spool import audit
from faults.rows import Row
from faults.verdict import LOSSES, Outcome, compared, told_by

PATIENCE = 60.0  # seconds until what should arrive must have: the longest pause between two tries is 30


@dataclass(frozen=True, slots=True)
class Stored:
    """What a receiver has written down."""

    ids: Counter[str]  # after it has dropped the batches it knew
    again: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Receiver:
    """One far side: the sink that sends to it, which messages it is to get, and what it has."""

    sink: str
    stored: Callable[[], Stored]
    wants: Callable[[int], bool] = lambda number: True


def lake(cloud: e2e.Cloud, dataset: str = e2e.DATASET, sink: str = "lake") -> Receiver:
    """Obsrv's stand-in as a receiver: by its journal, repeated batches dropped as the service drops them."""

    books = e2e.Books(dataset)

    def stored() -> Stored:
        books.read(cloud.journal)
        return Stored(books.stored, books.sent_again, books.conflicts)

    return Receiver(sink, stored)


@dataclass
class Scene:
    """One trial."""

    folder: Path
    agent: AgentProcess
    receivers: list[Receiver]
    rng: Random
    plant: Broker | None = None
    the_cloud: e2e.Cloud | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    trials: int = 1  # how often the fault was done in it
    settled: bool = False

    @property
    def broker(self) -> Broker:
        """The Mosquitto of this trial."""
        assert self.plant is not None, "this scene has no broker of its own"
        return self.plant

    @property
    def cloud(self) -> e2e.Cloud:
        """The Obsrv of this trial."""
        assert self.the_cloud is not None, "this scene has no cloud of its own"
        return self.the_cloud

    def publisher(self, name: str = "publisher", *, port: int | None = None, window: int = 500) -> Publisher:
        """A publisher with a file of ids of its own. Close it, or its file is not whole."""
        ids = self.folder / "ids"
        ids.mkdir(exist_ok=True)
        return Publisher(port or self.broker.port, name, window=window, log=ids / name)

    def publish(self, numbers: range, *, name: str = "publisher", port: int | None = None, **options: Any) -> None:
        """Publish these at QoS 1, all acknowledged on return. `options` as `Publisher.publish`."""
        publisher = self.publisher(name, port=port)
        try:
            publisher.publish(numbers, options.pop("payload", state_payload), **options)
        finally:
            publisher.close()

    def publishing(self, numbers: range, **options: Any) -> e2e.Background:
        """The same beside what goes on; `.result()` waits for its end."""
        return e2e.Background(lambda: self.publish(numbers, **options))

    def acknowledged(self) -> set[int]:
        """What brokers took, by the publishers' files."""
        files = (self.folder / "ids").glob("*")
        return {int(line) for file in files for line in file.read_text().split()}

    def settle(self, timeout: float = PATIENCE, *, stop: bool = True) -> None:
        """
        Wait until every message has come to an end at every receiver; then stop the agent, or leave it running.

        A message that never does is missing: after so many seconds in which no other arrives either.
        """
        numbers = self.acknowledged()
        for receiver in self.receivers:
            wanted = {e2e.uid(number) for number in numbers if receiver.wants(number)}
            deadline, seen = time.monotonic() + timeout, -1
            while time.monotonic() < deadline and not self._has_ended(receiver, wanted):
                if (stored := len(receiver.stored().ids)) > seen:
                    deadline, seen = time.monotonic() + timeout, stored
                time.sleep(0.05)  # between two questions
        self.settled = True
        if stop:
            code = self.agent.stop()
            assert code == 0, f"the agent ended with {code}:\n{self.agent.text()[-4000:]}"

    def _has_ended(self, receiver: Receiver, wanted: set[str]) -> bool:
        child = self.agent.child
        assert child is not None
        assert child.poll() is None, f"ended with {child.returncode}:\n{self.agent.text()[-4000:]}"
        missing = len(wanted - set(receiver.stored().ids))
        code, body = get(f"http://127.0.0.1:{self.agent.port}/status.json")
        if code != 200:
            return False
        sink = json.loads(body)["sinks"][receiver.sink]
        told = sum(sink["ledger"][fate] for fate in LOSSES)
        if missing > told:
            told += int(e2e.metric(self.agent, "agent_intake_refused_total"))
        return missing <= told and sink["queued"] == 0

    def outcome(self) -> Outcome:
        """What this trial has cost: by the files; what the agent says of it, by `audit`."""
        numbers = self.acknowledged()
        # What `audit` prints, without the start of another process.
        report = audit(self.agent.state)
        outcome = Outcome(trials=self.trials, notes=self.notes)
        if not report.balanced:
            outcome.problems.append(f"the books do not balance: {report.findings}")
        for receiver in self.receivers:
            stored = receiver.stored()
            wanted = [e2e.uid(number) for number in numbers if receiver.wants(number)]
            outcome.add(
                compared(
                    wanted,
                    stored.ids,
                    told=told_by(report, receiver.sink),
                    again=stored.again,
                    conflicts=stored.conflicts,
                )
            )
        return outcome


@dataclass
class Stage:
    """What the function of a row is given."""

    row: Row
    folder: Path
    seed: int
    times: int
    is_quick: bool
    say: Callable[[str], None]
    outcome: Outcome = field(default_factory=Outcome)
    scenes: int = 0
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)

    @contextmanager
    def scene(
        self,
        *,
        agent: str = e2e.AGENT,
        spool: Mapping[str, Any] | None = None,
        topic: str = "plant/#",
        collector: str = "",
        sink: str = "",
        more: str = "",
        timeout: str = "2s",
        broker_url: Callable[[Broker], str] = lambda broker: broker.url,
        env: Mapping[str, str] | None = None,
        started: bool = True,
    ) -> Iterator[Scene]:
        """
        Mosquitto, one Obsrv, one agent between them; its trial is judged when the block is left.

        `collector` and `sink` are lines for their tables, `more` further tables, `env` the environment of the agent's
        process. Without `started` the agent is configured and not started.
        """
        folder = self.place()
        with e2e.broker(folder) as broker, e2e.cloud(folder) as cloud:
            config = (
                agent
                + (e2e.spool(**spool) if spool else "")
                + e2e.mqtt_collector(broker_url(broker), topic, options=collector)
                + e2e.obsrv_sink(cloud.url, timeout=timeout, more=sink)
                + more
            )
            with AgentProcess(folder / "agent", config, dict(env or {})) as process:
                scene = Scene(folder, process, [lake(cloud)], self.rng, broker, cloud)
                if started:
                    process.start()
                    e2e.subscribed(process)
                yield scene
                self.judge(scene)

    def place(self) -> Path:
        """A new folder for a trial."""
        self.scenes += 1
        folder = self.folder / f"{self.scenes:04d}"
        folder.mkdir(parents=True)
        return folder

    def judge(self, scene: Scene) -> None:
        """Add what this trial has cost. One that was not settled shows nothing."""
        assert scene.settled, "a scene is judged after scene.settle()"
        self.outcome.add(scene.outcome())


def play(row: Row, work: Callable[[Stage], None], folder: Path, *, quick: bool, seed: int, say: Any) -> Outcome:
    """Do a row and give what it has cost."""
    times = row.quick if quick else row.times
    stage = Stage(row=row, folder=folder, seed=seed, times=times, is_quick=quick, say=say)
    work(stage)
    return stage.outcome


__all__ = ["PATIENCE", "Receiver", "Scene", "Stage", "Stored", "lake", "play", "wait_for"]
