"""The agent of the demo: its configuration, its process, and what its status page says."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from agent.sandbox.broker import Broker

MQTT, SINK = "plant", "lake"
START = 20.0  # seconds the agent may take to subscribe: devices that publish earlier would lose what they send
STOP = 20.0  # more than its stop_grace

_CONFIG = """\
# The agent of `telemetry-agent demo`.

[agent]
hostname = "demo"
stop_grace = "5s"

[spool]
directory = "{state}"

[status]
listen = "127.0.0.1:{port}"

[collectors.host]
type = "host"
interval = "2s"

[collectors.{mqtt}]
type = "mqtt"
url = "{url}"
protocol = "{protocol}"
[[collectors.{mqtt}.subscription]]
topic = "plant/{{site}}/{{device}}/state"
qos = 1
time = {{ key = "time", format = "ms" }}

[sinks.{sink}]
type = "obsrv"
url = "{cloud}"
dataset = "{dataset}"
"""


def configuration(directory: Path, broker: Broker, cloud: str, dataset: str) -> tuple[str, int]:
    """The text of agent.toml, and the port of the status page in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    text = _CONFIG.format(
        state=directory / "state",
        port=port,
        mqtt=MQTT,
        url=broker.url,
        protocol=broker.protocol,
        sink=SINK,
        cloud=cloud,
        dataset=dataset,
    )
    return text, port


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What /status.json says, as far as the demo shows it."""

    taken: int = 0  # records made durable
    queued: int = 0
    queued_bytes: int = 0
    lag: float = 0.0  # seconds
    sink: str = "starting"
    collector: str = "starting"
    ledger: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, page: Mapping[str, Any]) -> Status:
        """Read the page."""
        sink, collectors = page["sinks"][SINK], page["collectors"]
        return cls(
            taken=sum(lane["head"] for lane in page["spool"]["lanes"].values()),
            queued=sink.get("queued", 0),
            queued_bytes=sink.get("queued_bytes", 0),
            lag=sink.get("lag", 0.0),
            sink=sink["state"],
            collector=collectors[MQTT]["state"],
            ledger=sink.get("ledger", {}),
        )


class AgentEndedError(Exception):
    """The agent's process is gone; the message has the end of its log."""


class Child:
    """`telemetry-agent run` as a child process."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, log: Path, session: aiohttp.ClientSession
    ) -> None:
        self.process, self.log = process, log
        self.url = f"http://127.0.0.1:{port}"
        self._session = session

    @classmethod
    @asynccontextmanager
    async def running(cls, config: Path, log: Path, port: int) -> AsyncIterator[Child]:
        """Start it, and on leaving ask it to stop and wait for it."""
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "agent", "run", "--config", str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the demo, which ends its parts in order
            )
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                yield cls(process, port, log, session)
        finally:
            await _end(process)

    async def status(self) -> Status | None:
        """What it says of itself now; None where it does not answer. Raises AgentEndedError."""
        if self.process.returncode is not None:
            raise AgentEndedError(
                f"the agent ended with {self.process.returncode}:\n{await asyncio.to_thread(self._tail)}"
            )
        try:
            async with self._session.get(f"{self.url}/status.json") as answer:
                return Status.of(json.loads(await answer.read()))
        except (OSError, TimeoutError, aiohttp.ClientError):
            return None

    async def until_subscribed(self) -> None:
        """Wait until it takes messages. Raises AgentEndedError where it does not within START seconds."""
        try:
            async with asyncio.timeout(START):
                while (status := await self.status()) is None or status.collector != "up":  # noqa: ASYNC110 no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tail = await asyncio.to_thread(self._tail)
            raise AgentEndedError(f"the agent did not subscribe within {START:.0f} s:\n{tail}") from None

    def _tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
            return file.read().decode(errors="replace").strip()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP)
    except TimeoutError:
        process.kill()
        await process.wait()
