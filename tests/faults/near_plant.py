"""
The near side as a scene: one Mosquitto, one agent with a session or several at it, each over a line of its own.

One agent with many sessions shows in the time of one what else took that of many: every session comes back by itself,
within the first pauses of its backoff.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from brokers import mosquitto
from e2e import scene as e2e
from processes import AgentProcess
from publisher import Publisher, state_payload

from faults.near_line import Line, Rule, line
from faults.rows import Work
from faults.stage import PATIENCE, Scene, Stage, lake


@dataclass(frozen=True, slots=True)
class Session:
    """One collector, all of whose topics begin with its name."""

    name: str
    protocol: Literal["5", "3.1.1"] = "5"
    qos: int = 1
    options: str = ""
    rules: Sequence[Rule] = ()

    def topic(self, number: int) -> str:
        """The topic of a message for it."""
        return f"{self.name}/line{number % 7}/state"

    def collector(self, url: str) -> str:
        """Its tables."""
        options = f'protocol = "{self.protocol}"\nclient_id = "edge-{self.name}"\n{self.options}'
        tables = e2e.mqtt_collector(url, f"{self.name}/#", self.name, options=options)
        return tables.replace("qos = 1", f"qos = {self.qos}")


# Of both protocols one, for what has to hold in each.
FIVE, OLDER = Session("five"), Session("older", "3.1.1")


@dataclass
class Near(Scene):
    """A trial on the near side."""

    sessions: Sequence[Session] = ()
    lines: Mapping[str, Line] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reachable: threading.Event = field(default_factory=threading.Event)  # the broker is there to be connected to

    def topic(self, number: int) -> str:
        """The sessions take turns."""
        return self.sessions[number % len(self.sessions)].topic(number)

    def send(self, numbers: range, *, name: str, **options: Any) -> None:
        """Publish these to all sessions in turn."""
        self.publish(numbers, name=name, topic=self.topic, **options)

    def subscribed(self) -> None:
        """Return once every session stands."""
        for each in self.sessions:
            e2e.subscribed(self.agent, each.name, PATIENCE)

    def stored(self) -> int:
        """How many messages the far side has."""
        return sum(self.cloud.report()["stored"].values())

    def duplicates(self) -> int:
        """How many the broker has sent again."""
        return sum(each.duplicates for each in self.lines.values())

    def expect(self, what: str, found: object, expected: object) -> None:
        """What else the row promises, beside the files of ids."""
        if found != expected:
            self.problems.append(f"{what}: expected {expected}, found {found}")

    def said(self, words: str, session: Session | None = None) -> int:
        """How many lines of the log have these words, of that session."""
        lines = [text for text in self.agent.text().splitlines() if words in text]
        return len([text for text in lines if session is None or re.search(rf"collector={session.name}\b", text)])

    def twice(self) -> int:
        """Copies beyond the first at the far side."""
        ids = self.receivers[0].stored().ids
        return ids.total() - len(ids)


@contextlib.contextmanager
def plant(
    stage: Stage,
    *sessions: Session,
    agent: str = e2e.AGENT,
    spool: Mapping[str, Any] | None = None,
    sink: str = "",
    timeout: str = "2s",
    stored_once: bool = True,
) -> Iterator[Near]:
    """
    Broker, lines, agent and one Obsrv, all sessions up; judged when the block is left.

    `stored_once`: whether a second copy at the receiver breaks the row.
    """
    folder = stage.place()
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        broker = enter(mosquitto(folder / "broker", e2e.BROKER))
        cloud = enter(e2e.cloud(folder))
        lines = {each.name: enter(line(broker.port, *each.rules)) for each in sessions}
        config = (
            agent
            + (e2e.spool(**spool) if spool else "")
            + "".join(each.collector(lines[each.name].url) for each in sessions)
            + e2e.obsrv_sink(cloud.url, timeout=timeout, more=sink)
        )
        process = enter(AgentProcess(folder / "agent", config))
        scene = Near(folder, process, [lake(cloud)], stage.rng, broker, cloud, sessions=sessions, lines=lines)
        scene.reachable.set()
        process.start()
        scene.subscribed()
        yield scene
        if stored_once:
            scene.expect("copies beyond the first", scene.twice(), 0)
        # A trace in the log is a bug, even where the supervisor began anew and nothing was lost.
        scene.expect("lines with a trace", scene.agent.text().count("Traceback"), 0)
        stage.judge(scene)
        stage.outcome.problems += scene.problems


def each_time(trial: Work) -> Work:
    """The row is this trial, as often as the table says."""

    @functools.wraps(trial)
    def work(stage: Stage) -> None:
        for _ in range(stage.times):
            trial(stage)

    return work


class Device:
    """
    A publisher that comes back: what was not acknowledged when its connection broke is published again.

    `again`: how many were. The broker may have had these before, and then has them twice.
    """

    def __init__(self, scene: Near, name: str) -> None:
        self._scene = scene
        self._name = name
        self._turns = 0
        self.again = 0

    def publish(self, numbers: range, *, rate: float, topic: Callable[[int], str]) -> None:
        """All of them, acknowledged on return."""
        left = list(numbers)
        while left:
            assert self._scene.reachable.wait(PATIENCE), "the broker does not come back"
            self._turns += 1
            publisher: Publisher = self._scene.publisher(f"{self._name}-{self._turns}")
            try:
                publisher.publish(left, state_payload, topic, rate=rate)
                publisher.close()
            except (OSError, AssertionError):  # the latter: closed in order
                publisher.abandon()
            left = [number for number in left if number not in publisher.acknowledged]
            self.again += publisher.unacknowledged
