"""
`demo`: devices, broker, agent and cloud on this machine, and then the books: what was acknowledged, what is stored.

    devices ▸ embedded broker ▸ agent (a process of its own) ▸ sandbox
       └─────────── their books are compared at the end ──────────┘
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agent.cli.demo_agent import AgentEndedError, Child, Status, configuration
from agent.cli.demo_screen import Moment, Show, screen
from agent.sandbox import broker, devices, faults
from agent.sandbox.devices import Fleet
from agent.sandbox.obsrv import Dataset, Sandbox
from agent.units import parse_duration

DATASET = "demo"
DRAIN = 30.0  # seconds the last records may take once the cloud is up
NOT_ALL = 1  # the exit status where something is missing


def demo(
    seconds: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long the devices publish: 20, 45s, 2m.")
    ] = "20",
    outage: Annotated[
        list[str] | None, typer.Option(metavar="CLOUD=DURATION", help="A cloud is down for a while: obsrv=10.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Messages a second, all devices together.")] = 100.0,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep configuration, state and logs in this empty folder.")
    ] = None,
) -> None:
    """
    See it work: simulated devices, a broker, the agent and a stand-in cloud on this machine, no account, no network.

    Ends with what was lost on the way; the exit status is 0 only where that is nothing.
    """
    down = sum(_outage(text) for text in outage or ())
    lasting = _seconds(seconds, "--for")
    with ExitStack() as stack:
        if keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telemetry-agent-demo-")))
        else:
            directory = _empty(keep)
        try:
            running = stack.enter_context(broker.embedded(directory / "broker"))
            story = Story(directory=directory, broker=running, seconds=lasting, outage=down, rate=rate)
            status = asyncio.run(story.run(Console()))
        except (broker.NoBrokerError, AgentEndedError) as error:
            print(f"demo: {error}")
            status = os.EX_UNAVAILABLE
        except asyncio.CancelledError:
            print("demo: interrupted before all was stored")
            status = 128 + signal.SIGINT
    raise typer.Exit(status)


def _seconds(text: str, option: str) -> float:
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise typer.BadParameter(f'expected seconds or a duration such as "30s", found "{text}"', param_hint=option)
    return value


def _outage(text: str) -> float:
    cloud, _, duration = text.partition("=")
    if cloud != "obsrv":
        raise typer.BadParameter(f'expected obsrv=DURATION, found "{text}"', param_hint="--outage")
    return _seconds(duration, "--outage")


def _empty(keep: Path) -> Path:
    directory = keep.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise typer.BadParameter(f"{keep} is not empty", param_hint="--keep")
    return directory


@dataclass(slots=True, kw_only=True)
class Story:
    """One run of the demo."""

    directory: Path
    broker: broker.Broker
    seconds: float
    outage: float  # from a quarter of the time on
    rate: float
    status: Status = field(default_factory=Status)
    stored: set[str] = field(default_factory=set)
    twice: int = 0
    _read: int = 0  # how much of what is stored has been looked at
    _began: float = 0.0
    _shown: float = float("-inf")

    async def run(self, console: Console) -> int:
        """From the first start to the verdict; the exit status."""
        stop = asyncio.Event()
        _on_interrupt(stop)
        async with Sandbox.open([Dataset(id=DATASET)], journal=self.directory / "sandbox.ndjson") as sandbox:
            text, port = configuration(self.directory, self.broker, sandbox.url, DATASET)
            config = self.directory / "agent.toml"
            await asyncio.to_thread(config.write_text, text)
            async with Child.running(config, self.directory / "agent.log", port) as agent:
                await agent.until_subscribed()
                title = f"telemetry-agent demo · {self.broker.kind}, MQTT {self.broker.protocol} · {agent.url}"
                with screen(console, title) as show:
                    fleet = await self._publish(sandbox, agent, stop, show)
                    await self._drain(sandbox, agent, fleet, show)
        self.count(sandbox)
        return self.verdict(fleet, sandbox, console)

    async def _publish(self, sandbox: Sandbox, agent: Child, stop: asyncio.Event, show: Show) -> Fleet:
        self._began = time.monotonic()
        if self.outage:
            # Retry-After keeps the agent's pauses short, so that the demo ends soon after the outage.
            down = faults.unavailable(1, after=self.seconds / 4, seconds=self.outage)
            sandbox.faults.add(down)
        log = self.directory / "devices.log"
        async with devices.running(self.broker.port, log, stop, rate=self.rate) as fleet:
            while not stop.is_set() and time.monotonic() < self._began + self.seconds:
                await self._look(sandbox, agent, fleet, show, "publishing")
        return fleet

    async def _drain(self, sandbox: Sandbox, agent: Child, fleet: Fleet, show: Show) -> None:
        """Until what was acknowledged is stored, or until that has had its time."""
        up_again = self._began + self.seconds / 4 + self.outage if self.outage else 0.0
        deadline = max(time.monotonic(), up_again) + DRAIN
        while time.monotonic() < deadline:
            await self._look(sandbox, agent, fleet, show, "draining")
            if fleet.acknowledged <= self.stored and not self.status.queued:
                break
        self._shown = float("-inf")
        await self._look(sandbox, agent, fleet, show, "done")

    async def _look(self, sandbox: Sandbox, agent: Child, fleet: Fleet, show: Show, phase: str) -> None:
        """See how things stand, show it once a second, and pause until the next look."""
        self.status = await agent.status() or self.status
        self.count(sandbox)
        seconds = time.monotonic() - self._began
        if self.outage and self.seconds / 4 <= seconds < self.seconds / 4 + self.outage:
            phase = "obsrv is down"
        if seconds - self._shown >= 1.0:
            self._shown = seconds
            show(
                Moment(
                    seconds=seconds,
                    phase=phase,
                    acknowledged=len(fleet.acknowledged),
                    taken=self.status.taken,
                    queued=self.status.queued,
                    queued_bytes=self.status.queued_bytes,
                    lag=self.status.lag,
                    sink=self.status.sink,
                    stored=self._read,
                    requests=len(sandbox.requests),
                )
            )
        await asyncio.sleep(0.1)

    def count(self, sandbox: Sandbox) -> None:
        """Look at what has been stored since the last time."""
        stored = sandbox.stored(DATASET)
        for item in stored[self._read :]:
            if item.id:  # host metrics have none
                self.twice += item.id in self.stored
                self.stored.add(item.id)
        self._read = len(stored)

    def verdict(self, fleet: Fleet, sandbox: Sandbox, console: Console) -> int:
        """Compare the books, say what came out, and give the exit status."""
        lost = len(fleet.acknowledged - self.stored)
        ledger = self.status.ledger
        gone = {name: ledger.get(key, 0) for name, key in _APART.items()}
        hosts = self._read - len(self.stored) - self.twice
        apart = "  ".join(f"{name} {count}" for name, count in gone.items())
        lines = [
            f"devices   {len(fleet.acknowledged)} messages acknowledged to {fleet.devices} devices",
            f"obsrv     {len(self.stored)} of them stored, {self.twice} twice; {hosts} records of host metrics stored",
            f"lost {lost}  {apart}",
        ]
        if sandbox.conflicts:
            lines.insert(2, f"obsrv     {len(sandbox.conflicts)} batches had a name that other data had before")
        for text in lines:
            console.print(text, highlight=False, soft_wrap=True)
        return NOT_ALL if lost or sandbox.conflicts or any(gone.values()) else 0


_APART = {"expired": "expired", "evicted": "evicted", "dead-lettered": "dead"}


def _on_interrupt(stop: asyncio.Event) -> None:
    """The first Ctrl-C ends the publishing and goes on to the verdict; the second ends the waiting too."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
