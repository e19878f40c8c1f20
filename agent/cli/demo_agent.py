"""The agent of the demo: its process, what its pages say, and what its log says of gaps."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from agent.cli.demo_config import ALARMS, MQTT, RULE

START = 20.0  # seconds the agent may take to subscribe: devices that publish earlier would lose what they send
STOP = 20.0  # more than its stop_grace

_TOLD = re.compile(rb'^agent_events_told_total\{[^}]*rule="' + RULE.encode() + rb'"[^}]*\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """What /status.json says of one sink, as far as the demo shows it."""

    state: str = "starting"
    taken: int = 0  # records that are or were for it
    queued: int = 0
    queued_bytes: int = 0
    lag: float = 0.0  # seconds
    expired: int = 0  # records that grew too old for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the agent says of itself."""

    sinks: Mapping[str, Sink] = field(default_factory=dict)
    subscribed: bool = False
    events: int = 0  # that the rule has caused

    def sink(self, name: str) -> Sink:
        """That one."""
        return self.sinks.get(name) or Sink()

    @classmethod
    def of(cls, page: Mapping[str, Any], metrics: bytes) -> Status:
        """Read the two pages."""
        told = _TOLD.search(metrics)
        return cls(
            sinks={name: _sink(table) for name, table in page["sinks"].items()},
            subscribed=all(page["collectors"][name]["state"] == "up" for name in (MQTT, ALARMS)),
            events=int(float(told[1])) if told else 0,
        )


def _sink(table: Mapping[str, Any]) -> Sink:
    queued, ledger = table.get("queued", 0), table.get("ledger", {})
    return Sink(
        state=table["state"],
        taken=sum(ledger.values()) + queued,
        queued=queued,
        queued_bytes=table.get("queued_bytes", 0),
        lag=table.get("lag", 0.0),
        expired=ledger.get("expired", 0),
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
                page = json.loads(await answer.read())
            async with self._session.get(f"{self.url}/metrics") as answer:
                return Status.of(page, await answer.read())
        except (OSError, TimeoutError, aiohttp.ClientError):
            return None

    async def until_subscribed(self) -> None:
        """Wait until it takes messages. Raises AgentEndedError where it does not within START seconds."""
        try:
            async with asyncio.timeout(START):
                while (status := await self.status()) is None or not status.subscribed:  # noqa: ASYNC110 no event
                    await asyncio.sleep(0.05)
        except TimeoutError:
            tail = await asyncio.to_thread(self._tail)
            raise AgentEndedError(f"the agent did not subscribe within {START:.0f} s:\n{tail}") from None

    def _tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
            return file.read().decode(errors="replace").strip()


def gaps(log: Path, sink: str) -> list[str]:
    """What the agent says in its log of records that were too old for that sink: a line a gap."""
    lines = log.read_text(errors="replace").splitlines()
    return [line.partition("records expired")[2].strip() for line in lines if _is_gap(line, sink)]


def _is_gap(line: str, sink: str) -> bool:
    return " records expired " in line and f" sink={sink} " in line


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP)
    except TimeoutError:
        process.kill()
        await process.wait()
