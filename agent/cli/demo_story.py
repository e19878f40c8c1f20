"""One run of the demo: start everything, let the devices publish, wait until all has arrived, compare the books."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from agent import __version__
from agent.cli.demo_agent import Child, Status, gaps
from agent.cli.demo_books import Sent, account, ledgers, verdict
from agent.cli.demo_clouds import Clouds
from agent.cli.demo_config import configuration
from agent.cli.demo_screen import Moment, Row, Show, screen
from agent.sandbox import devices
from agent.sandbox.broker import Broker
from agent.sandbox.devices import Fleet
from agent.spool import audit

DRAIN = 30.0  # seconds the last records may take once every cloud is up
ALARMS = 0.8  # a second, all devices together
INTRODUCTION = (
    "8 simulated devices publish readings and alarms to a broker. The agent writes each to its spool on disk, "
    "acknowledges it, and delivers to three clouds, stand-ins on this machine: obsrv gets every record, insight "
    "(NAVER Cloud Insight) rows about this host and the devices, rackspace the alarms, and an event when a device is "
    "hot. At the end the devices' own books are compared with what each cloud has.\n"
)


@dataclass(slots=True, kw_only=True)
class Story:
    """One run of the demo."""

    directory: Path
    broker: Broker
    seconds: float
    outages: Mapping[str, float]  # by cloud, in seconds, from a quarter of the time on
    rate: float
    status: Status = field(default_factory=Status)
    _hurries: bool = False
    _began: float = 0.0
    _shown: float = float("-inf")

    async def run(self, console: Console) -> int:
        """From the first start to the verdict; the exit status."""
        stop = asyncio.Event()
        _on_interrupt(stop)
        console.print(INTRODUCTION, highlight=False)
        async with Clouds.open(self.directory) as clouds:
            text, port = configuration(self.directory, self.broker, clouds)
            config, log = self.directory / "agent.toml", self.directory / "agent.log"
            await asyncio.to_thread(config.write_text, text)
            async with Child.running(config, log, port) as agent:
                await agent.until_subscribed()
                title = f"telemetry-agent demo · {self.broker.kind}, MQTT {self.broker.protocol} · {agent.url}"
                with screen(console, title) as show:
                    fleet = await self._publish(clouds, agent, stop, show)
                    await self._drain(clouds, agent, fleet, show)
            clouds.look()  # with what the agent sent while it stopped
        return await asyncio.to_thread(self._verdict, clouds, fleet, console)

    async def _publish(self, clouds: Clouds, agent: Child, stop: asyncio.Event, show: Show) -> Fleet:
        self._began = time.monotonic()
        clouds.fail(self.outages, after=self.seconds / 4)
        log = self.directory / "devices.log"
        async with devices.running(self.broker.port, log, stop, rate=self.rate, alarms=ALARMS) as fleet:
            while not stop.is_set() and time.monotonic() < self._began + self.seconds:
                await self._look(clouds, agent, fleet, show, "publishing")
            if stop.is_set():  # by Ctrl-C: then it ends soon
                self._hurries, self.outages = True, {}
                clouds.heal()
        return fleet

    async def _drain(self, clouds: Clouds, agent: Child, fleet: Fleet, show: Show) -> None:
        """Until what was acknowledged is stored, or until that has had its time."""
        up_again = self._began + self.seconds / 4 + max(self.outages.values(), default=0.0)
        deadline = max(time.monotonic(), up_again) + DRAIN
        while time.monotonic() < deadline:
            await self._look(clouds, agent, fleet, show, "draining")
            # Of what Cloud Insight gets, the youngest always waits for its row to be complete.
            waiting = sum(self.status.sink(cloud.name).queued for cloud in (clouds.obsrv, clouds.rackspace))
            if not waiting and not self._missing(clouds, fleet):
                break
        self._shown = float("-inf")
        await self._look(clouds, agent, fleet, show, "done")

    async def _look(self, clouds: Clouds, agent: Child, fleet: Fleet, show: Show, phase: str) -> None:
        """See how things stand, show it once a second, and pause until the next look."""
        self.status = await agent.status() or self.status
        clouds.look()
        seconds = time.monotonic() - self._began
        since = seconds - self.seconds / 4
        if down := [name for name, lasting in self.outages.items() if 0 <= since < lasting]:
            phase = f"{' and '.join(down)} {'is' if len(down) == 1 else 'are'} down"
        if seconds - self._shown >= 1.0:
            self._shown = seconds
            rows = [self._row(cloud.name, cloud.stored) for cloud in clouds.all]
            readings, alarms = len(fleet.acknowledged), len(fleet.alarms)
            show(Moment(seconds=seconds, phase=phase, readings=readings, alarms=alarms, rows=rows))
        await asyncio.sleep(0.1)

    def _missing(self, clouds: Clouds, fleet: Fleet) -> bool:
        """Whether there is anything to wait for: what has expired will not come."""
        sent, insight = self._sent(fleet), clouds.insight.name
        # In a hurry what Cloud Insight has to get is left to the agent, which sends all it has when it stops.
        left = {insight} if self._hurries and self.status.sink(insight).state != "down" else set[str]()
        return any(
            cloud.found(sent).missing > self.status.sink(cloud.name).expired
            for cloud in clouds.all
            if cloud.name not in left
        )

    def _row(self, cloud: str, stored: str) -> Row:
        sink = self.status.sink(cloud)
        return Row(
            cloud=cloud,
            taken=sink.taken,
            stored=stored,
            queued=sink.queued,
            queued_bytes=sink.queued_bytes,
            lag=sink.lag,
            state=sink.state,
        )

    def _sent(self, fleet: Fleet) -> Sent:
        return Sent(
            readings=fleet.acknowledged, by_device=fleet.readings, alarms=fleet.alarms, events=self.status.events
        )

    def _verdict(self, clouds: Clouds, fleet: Fleet, console: Console) -> int:
        """Compare the books, say what came out, and give the exit status."""
        report = audit(self.directory / "state", version=__version__)
        ended, sent = ledgers(report), self._sent(fleet)
        accounts = [
            account(cloud.name, cloud.found(sent), ended.get(cloud.name, {}), by_age=cloud is clouds.insight)
            for cloud in clouds.all
        ]
        lines, status = verdict(accounts, gaps(self.directory / "agent.log", clouds.insight.name), report)
        acknowledged = f"{len(fleet.acknowledged):,} readings and {len(fleet.alarms):,} alarms acknowledged"
        console.print(f"devices    {acknowledged} to {fleet.devices} devices", highlight=False, soft_wrap=True)
        for text in lines:
            console.print(text, highlight=False, soft_wrap=True)
        return status


def _on_interrupt(stop: asyncio.Event) -> None:
    """The first Ctrl-C ends the publishing and goes on to the verdict; the second ends the waiting too."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
