"""A whole scene: broker, stand-in cloud and agent as processes, and what can be said of them from outside."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from brokers import Broker, mosquitto
from processes import AgentProcess, get, wait_for
from publisher import Publisher, state_payload

from agent.sandbox.obsrv import Dataset, Sandbox
from agent.sandbox.obsrv import process as sandbox_process

DATASET = "telemetry"

# Nothing the broker holds is ever dropped. It is not killed in these tests, so it need not save itself.
BROKER = """
max_queued_messages 0
max_inflight_messages 1000
autosave_on_changes false
autosave_interval 1800
"""

Cloud = sandbox_process.Process
T = TypeVar("T")


@contextmanager
def broker(directory: Path) -> Iterator[Broker]:
    """Mosquitto as for data that must not be lost: persistent sessions, no bound on what waits."""
    with mosquitto(directory / "broker", BROKER) as running:
        yield running


@contextmanager
def cloud(directory: Path, *datasets: str) -> Iterator[Cloud]:
    """The stand-in for Obsrv as a process; its journal is the witness of what is stored."""
    directory.mkdir(parents=True, exist_ok=True)
    with sandbox_process.start(directory / "journal.ndjson", datasets=datasets or (DATASET,)) as running:
        yield running


@contextmanager
def cloud_inside(*datasets: Dataset) -> Iterator[Sandbox]:
    """The stand-in in a thread of this process: for tests that ask what stands in each record and request."""
    with in_a_thread(Sandbox.open(datasets or [Dataset(id=DATASET)])) as sandbox:
        yield sandbox


@contextmanager
def in_a_thread(opening: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What it opens, on an event loop in a thread of its own for as long as the block lasts."""
    started = threading.Event()
    ready: list[Any] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with opening as opened:
            ready.extend((opened, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="stand-ins")
    thread.start()
    assert started.wait(10), "the stand-ins do not start"
    opened, loop, stop = ready
    try:
        yield opened
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def mqtt_collector(url: str, topic: str = "plant/#", name: str = "plant", *, options: str = "", more: str = "") -> str:
    """The tables of a collector that takes that topic; `options` are the collector's, `more` the subscription's."""
    return f"""
[collectors.{name}]
type = "mqtt"
url = "{url}"
{options}
[[collectors.{name}.subscription]]
topic = "{topic}"
qos = 1
{more}
"""


def obsrv_sink(url: str, name: str = "lake", *, dataset: str = DATASET, timeout: str = "2s", more: str = "") -> str:
    """The table of a sink that sends to the stand-in."""
    return f"""
[sinks.{name}]
type = "obsrv"
url = "{url}"
dataset = "{dataset}"
timeout = "{timeout}"
connect_timeout = "1s"
{more}
"""


def spool(**options: object) -> str:
    """The `[spool]` table; the state directory is the process's own."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
    return f'[spool]\ndirectory = "@STATE@"\n{lines}'


AGENT = '[agent]\nhostname = "edge"\n'
HASTY_AGENT = AGENT + 'stop_grace = "1s"\n'  # where a far side hangs at the stop, and that is not what is tested


def is_subscribed(agent: AgentProcess, name: str = "plant") -> bool:
    """Whether the collector is up: its session stands, and what is published from now on is its."""
    code, body = get(f"http://127.0.0.1:{agent.port}/status.json")
    return code == 200 and bool(json.loads(body)["collectors"][name]["state"] == "up")


def subscribed(agent: AgentProcess, name: str = "plant", timeout: float = 30) -> None:
    """Return once the collector is up."""
    wait_for(f"{name} to be up", lambda: is_subscribed(agent, name), timeout)


def publish(running: Broker, numbers: range, **options: Any) -> set[int]:
    """Publish at QoS 1; the numbers the broker has acknowledged."""
    client = options.pop("client_id", "publisher")
    payload = options.pop("payload", state_payload)
    publisher = Publisher(running.port, client)
    publisher.publish(numbers, payload, **options)
    publisher.close()
    return publisher.acknowledged


def uid(number: int) -> str:
    """The id of message number `number` at the far side."""
    return f"m-{number}"


FATES = ("delivered", "expired", "evicted", "dead", "damaged", "abandoned")


def settled(agent: AgentProcess, count: int, sink: str = "lake") -> bool:
    """Whether that many records (or more) have come to an end for the sink, and nothing waits."""
    now = agent.status()["sinks"][sink]
    return bool(now["queued"] == 0 and sum(now["ledger"][fate] for fate in FATES) >= count)


def drained(agent: AgentProcess, sink: str = "lake") -> bool:
    """Whether nothing waits for the sink."""
    return bool(agent.status()["sinks"][sink]["queued"] == 0)


def metric(agent: AgentProcess, name: str, **labels: str) -> float:
    """The sum of a counter over all label sets that hold these."""
    code, body = get(f"http://127.0.0.1:{agent.port}/metrics")
    assert code == 200, (code, body)
    total = 0.0
    for line in body.decode().splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? ([-+0-9.eEinfNa]+)", line)
        if found is None or found[1] != name:
            continue
        have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
        if labels.items() <= have.items():
            total += float(found[3])
    return total


def dead_letters(agent: AgentProcess) -> list[dict[str, Any]]:
    """What `dead-letters list` shows."""
    found: list[dict[str, Any]] = json.loads(agent.command("dead-letters", "list", "--json", check=True).stdout)
    return found


def health(agent: AgentProcess, page: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a health page."""
    code, body = get(f"http://127.0.0.1:{agent.port}/health/{page}")
    return code, json.loads(body) if body else {}


def audit(agent: AgentProcess) -> subprocess.CompletedProcess[str]:
    """What `audit` says of the agent's state directory."""
    return agent.command("audit")


def assert_books_balance(agent: AgentProcess) -> None:
    """`audit` ends with 0."""
    found = audit(agent)
    assert found.returncode == 0, f"audit: {found.returncode}\n{found.stdout}\n{found.stderr}\n{agent.text()[-4000:]}"


@dataclass(slots=True)
class Books:
    """The journal of the stand-in, as far as it was read."""

    dataset: str = DATASET
    stored: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0  # requests that were stored or dropped under a msgid taken before
    conflicts: int = 0
    _first: dict[str, int] = field(default_factory=dict)  # msgid -> checksum
    _read: int = 0  # bytes

    @classmethod
    def of(cls, running: Cloud, dataset: str = DATASET) -> Books:
        """As it stands now."""
        return cls(dataset).read(running.journal)

    def read(self, journal: Path) -> Self:
        """
        Take in what was written since the last time.

        What comes again must be the same data: said here by the checksums, not by the sandbox.
        """
        with journal.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for entry in map(json.loads, whole.splitlines()):
            if entry["kind"] == "conflict":
                self.conflicts += 1
            elif entry["dataset"] == self.dataset and entry["kind"] == "stored":
                self.stored.update(entry["ids"])
            elif entry["dataset"] == self.dataset and entry["kind"] == "accepted":
                self.sent_again += entry["msgid"] in self._first
                self.conflicts += self._first.setdefault(entry["msgid"], entry["crc"]) != entry["crc"]
        return self

    def missing(self, acknowledged: set[int]) -> list[int]:
        """What the broker took and is not stored."""
        return sorted(number for number in acknowledged if not self.stored[uid(number)])

    def twice(self) -> int:
        """Copies beyond the first, after the far side has dropped repeated batches."""
        return sum(count - 1 for count in self.stored.values())


def say(capsys: Any, text: str) -> None:
    """Print a line that a reader of the test run sees, passed or not."""
    with capsys.disabled():
        print(f"\n    {text}", file=sys.stderr, flush=True)


class Background:
    """A thread whose failure is the test's."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def result(self, timeout: float = 60) -> Any:
        """What the work gave; raises what it raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "still at work"
        if self._error is not None:
            raise self._error
        return self._result
