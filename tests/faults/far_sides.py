"""
The three clouds as a row sees them, and the scene of an agent that sends to some of them.

Each message has a row of its own at Cloud Insight (its id is the row's dimension) and an event of its own at
Rackspace (its id is the text), so that at all three every message can be told from every other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from e2e import clouds as e2e_clouds
from e2e import scene as e2e
from processes import AgentProcess, get, wait_for

from agent.sandbox import ncloud
from agent.sandbox.ncloud import process as ncloud_process
from agent.sandbox.rackspace import process as rackspace_process
from faults.far_line import Line, line
from faults.inject import Injection
from faults.stage import Receiver, Scene, Stage, Stored, lake

Name = Literal["lake", "insight", "notes"]
ALL: tuple[Name, ...] = ("lake", "insight", "notes")
Process = Any  # one of the three stand-ins'

FEW = 8  # messages: four batches at Obsrv and Cloud Insight, so that they can be told apart
# In the full form a trouble lasts so many seconds, while so many messages a second come in.
LASTS, RATE = 2.0, 20

WHAT = 'what = "{fields.uid}"\ndata = "id={id}"'
SMALL = 'batch_records = 2\nlinger = "0s"'
_TIMEOUTS = 'timeout = "5s"\nconnect_timeout = "2s"'


def _timeouts(timeout: str) -> str:
    return f'timeout = "{timeout}"\nconnect_timeout = "1s"'


def small(number: int) -> bytes:
    """A message that fits an event: its id, and something to measure."""
    return b'{"uid":"m-%d","v":%d}' % (number, number % 40)


@dataclass(frozen=True, slots=True)
class Side:
    """One cloud: the stand-in's process and the table of the sink that sends to it."""

    name: Name
    process: Process
    stored: Callable[[], Stored]
    table: Callable[..., str]  # (folder for its keys, url=, timeout=, more=): the sink's table

    def fault(self, name: str, **options: Any) -> None:
        """Begin to fail."""
        self.process.fault(name, **options)

    def heal(self) -> None:
        """All is well again."""
        self.process.heal()

    def hits(self) -> int:
        """How often the faults in force have struck."""
        return int(self.process.hits())


@contextmanager
def lake_side(folder: Path) -> Iterator[Side]:
    """Obsrv."""
    with e2e.cloud(folder / "lake") as running:

        def table(_: Path, *, url: str | None, timeout: str, more: str) -> str:
            return e2e.obsrv_sink(url or running.url, timeout=timeout, more=f"{SMALL}\n{more}")

        yield Side("lake", running, lake(running).stored, table)


@contextmanager
def insight_side(folder: Path) -> Iterator[Side]:
    """Cloud Insight."""
    key = ncloud.Key(e2e_clouds.ACCESS, e2e_clouds.SECRET)
    schema = e2e_clouds.schema(0, "v", dimension="uid")
    with ncloud_process.start(folder / "insight.ndjson", keys=[key], schemas=[schema]) as running:

        def stored() -> Stored:
            return Stored(Counter(row["dimensions"]["uid"] for row in running.rows(e2e_clouds.cw_key())))

        def table(place: Path, *, url: str | None, timeout: str, more: str) -> str:
            # What waits longer than five minutes expires there, unless told: nothing is to be lost here.
            feed = e2e_clouds.schema_table(v='"v"') + 'dimensions = { uid = "fields.uid" }\n'
            return e2e_clouds.insight_sink(
                url or running.url, place, rollup="0s", more=f'max_age = "1d"\n{SMALL}\n{more}', schemas=feed
            ).replace(_TIMEOUTS, _timeouts(timeout))

        yield Side("insight", running, stored, table)


@contextmanager
def notes_side(folder: Path) -> Iterator[Side]:
    """Rackspace, hosted: Identity, and the service behind a gate."""
    with rackspace_process.start(folder / "notes.ndjson", hosted=True, rate=100_000) as running:

        def stored() -> Stored:
            return Stored(Counter(event.what or "" for event in running.events(e2e_clouds.TENANT)))

        def table(place: Path, *, url: str | None, timeout: str, more: str) -> str:
            options = f'select = ["mqtt.*"]\nrate = 60000\n{WHAT}\n{more}' + (f'\nurl = "{url}"' if url else "")
            return e2e_clouds.notes_sink(running.identity_url, place, more=options).replace(
                _TIMEOUTS, _timeouts(timeout)
            )

        yield Side("notes", running, stored, table)


_OPENING: Mapping[Name, Callable[[Path], AbstractContextManager[Side]]] = {
    "lake": lake_side,
    "insight": insight_side,
    "notes": notes_side,
}


@dataclass(kw_only=True)
class FarScene(Scene):
    """A trial with some of the clouds. Messages are numbered as they come, and small."""

    sides: Mapping[Name, Side]
    injection: Injection
    lines: Mapping[Name, Line]
    is_quick: bool
    sent: int = 0

    def endure(self, name: Name, fault: str, told: str, **options: Any) -> None:
        """This is done to everything at one cloud for a while, and told; what came in meanwhile is there afterwards."""
        side = self.sides[name]
        side.fault(fault, **options)
        if options.get("at") == "identity":
            side.process.revoke()  # or nobody would ask for a token
        self.send(FEW)
        is_overdue = fault == "hang" and self.is_quick
        if is_overdue:
            wait_for("a request that hangs", side.hits)
        self.told(name, told, overdue=is_overdue)
        if not self.is_quick:
            self.send(round(LASTS * RATE), rate=RATE)
            self.told(name, told)
        side.heal()
        self.arrived(name)

    def send(self, count: int = FEW, **options: Any) -> None:
        """So many messages more."""
        first, self.sent = self.sent, self.sent + count
        self.publish(range(first, self.sent), **{"payload": small, "name": f"publisher-{first}", **options})

    def reason(self, name: Name) -> str:
        """In what state the sink is, and why, as /status.json has it; "" where it is well."""
        sink = self.agent.status()["sinks"][name]
        return "" if sink["state"] in ("up", "starting") else f"{sink['state']}: {sink['reason']}"

    def has_all(self, name: Name) -> bool:
        """Whether that cloud has every message so far."""
        return len(self.sides[name].stored().ids) >= self.sent

    def skip(self, seconds: float) -> None:
        """So many seconds pass at once for the agent's timers, unless it is at work just now or waits for an answer."""
        before = self._at_rest()
        if before and self._at_rest() == before:
            self.pass_time(seconds)

    def _at_rest(self) -> list[int]:
        """How many requests each sink has made; none where one is on its way."""
        sinks = self.agent.status()["sinks"].values()
        return [] if any(sink["in_flight"] for sink in sinks) else [sink["batches"]["requests"] for sink in sinks]

    def pass_time(self, seconds: float) -> None:
        """So many seconds pass at once for the agent's timers, whatever it does: what it waits for is overdue."""
        self.injection.pass_time(seconds)
        get(f"http://127.0.0.1:{self.agent.port}/health/live")  # who sleeps has to be woken to see it

    def told(self, name: Name, words: str, *, overdue: bool = False, timeout: float = 20.0) -> None:
        """
        Return once the sink's state and reason have these words; pauses before further tries are passed over.

        `overdue`: and the time that it waits for answers.
        """
        move = self.pass_time if overdue else self.skip
        found = ""

        def is_told() -> bool:
            nonlocal found
            found = self.reason(name)
            if words not in found:
                move(10)
            return words in found

        try:
            wait_for(f"{words!r}", is_told, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; of {name} it says {found!r}") from None

    def arrived(self, *names: Name, skip: float = 25.0, timeout: float = 30.0) -> None:
        """Return once these clouds (all, unless named) have every message so far; the sinks' pauses are passed over."""
        for name in names or tuple(self.sides):

            def has_all(name: Name = name) -> bool:
                if not self.has_all(name) and skip:
                    self.skip(skip)
                return self.has_all(name)

            try:
                wait_for(f"all {self.sent} at {name}", has_all, timeout)
            except AssertionError as error:
                has, sink = len(self.sides[name].stored().ids), self.agent.status()["sinks"][name]
                raise AssertionError(f"{error}: it has {has}, and the agent says {sink}") from None


@contextmanager
def far_scene(
    stage: Stage,
    *names: Name,
    agent: str = e2e.AGENT,
    way: str = "",
    more: Mapping[Name, str] = {},
    files: Mapping[str, str] = {},
    timeout: str = "5s",
    defaults: bool = False,
) -> Iterator[FarScene]:
    """
    Mosquitto, these clouds (Obsrv unless named) and an agent that sends all to each of them; judged when left.

    `way`: scheme and host by which each cloud is reached, over a line of its own; `more`: what else stands in the
    sinks' tables, @FOLDER@ being that of their keys; `files`: other texts in that folder; `defaults`: Obsrv's table
    holds what it must and no more.
    """
    folder = stage.place()
    with ExitStack() as stack:
        opening = [partial(e2e.broker, folder), *(partial(_OPENING[name], folder) for name in names or ("lake",))]
        plant, *opened = _together(stack, opening)
        sides: Mapping[Name, Side] = {side.name: side for side in opened}
        lines = {side.name: stack.enter_context(line(side.process.url)) for side in opened if way}
        if defaults:
            tables = f'[sinks.lake]\ntype = "obsrv"\nurl = "{sides["lake"].process.url}"\ndataset = "{e2e.DATASET}"\n'
        else:
            tables = ""
            for side in opened:
                url = f"{way}:{lines[side.name].port}" if way else None
                tables += side.table(folder, url=url, timeout=timeout, more=more.get(side.name, ""))
        for name, text in files.items():
            (folder / name).write_text(text)
        injection = Injection(folder / "faults")
        config = agent + e2e.mqtt_collector(plant.url) + tables.replace("@FOLDER@", str(folder))
        process = stack.enter_context(AgentProcess(folder / "agent", config, injection.env))
        scene = FarScene(
            folder=folder,
            agent=process,
            receivers=[Receiver(side.name, side.stored) for side in opened],
            rng=stage.rng,
            plant=plant,
            sides=sides,
            injection=injection,
            lines=lines,
            is_quick=stage.is_quick,
        )
        process.start()
        e2e.subscribed(process)
        yield scene
        stage.judge(scene)


def _together(stack: ExitStack, opening: Sequence[Callable[[], AbstractContextManager[Any]]]) -> list[Any]:
    """Enter them all at once: most of what each takes is Python's start."""
    managers = [each() for each in opening]
    with ThreadPoolExecutor(len(managers)) as pool:
        entered = [pool.submit(each.__enter__) for each in managers]
    for manager, result in zip(managers, entered, strict=True):
        if result.exception() is None:
            stack.push(manager.__exit__)
    return [each.result() for each in entered]
