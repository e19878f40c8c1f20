"""
`demo`: devices, broker, agent and three clouds on this machine, and then the books: what was sent, what arrived.

    devices ▸ embedded broker ▸ agent (a process of its own) ▸ stand-ins of Obsrv, Cloud Insight and Rackspace
       └─────────────────── their books are compared at the end ───────────────────┘
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agent.cli.demo_agent import AgentEndedError
from agent.cli.demo_clouds import NAMES
from agent.cli.demo_story import Story
from agent.sandbox import broker
from agent.units import parse_duration

_HARDER = "Make it harder: telemetry-agent demo --for 60 --outage rackspace=10 --outage insight=20 --outage obsrv=30"


def demo(
    seconds: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long the devices publish: 20, 45s, 2m.")
    ] = "20",
    outage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLOUD=DURATION",
            help=f"A cloud is down for a while, from a quarter of the time on: {', '.join(NAMES)}; may be repeated.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Readings a second, all devices together.")] = 100.0,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep configuration, state and logs in this empty folder.")
    ] = None,
) -> None:
    """
    See it work: devices, a broker, the agent and three stand-in clouds on this machine, no account, no network.

    Ends with what was lost on the way; the exit status is 0 only where that is nothing.
    """
    outages = _outages(outage or ())
    lasting = _seconds(seconds, "--for")
    with ExitStack() as stack:
        if keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telemetry-agent-demo-")))
        else:
            directory = _empty(keep)
        try:
            running = stack.enter_context(broker.embedded(directory / "broker"))
            story = Story(directory=directory, broker=running, seconds=lasting, outages=outages, rate=rate)
            status = asyncio.run(story.run(Console()))
        except (broker.NoBrokerError, AgentEndedError) as error:
            print(f"demo: {error}")
            status = os.EX_UNAVAILABLE
        except asyncio.CancelledError:
            print("demo: interrupted before all was stored")
            status = 128 + signal.SIGINT
        else:
            print(_further(keep))
    raise typer.Exit(status)


def _further(keep: Path | None) -> str:
    """Where to look next."""
    if keep is None:
        look = "--keep DIR leaves the agent's configuration, its log and spool, and the journals of the clouds in DIR"
    else:
        look = f"{keep}/agent.toml is the configuration; telemetry-agent audit --state {keep}/state shows the books"
    return f"{_HARDER}\nLook into it: {look}\nDo it yourself: docs/configuration.md, agent.toml.example"


def _seconds(text: str, option: str) -> float:
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise typer.BadParameter(f'expected seconds or a duration such as "30s", found "{text}"', param_hint=option)
    return value


def _outages(texts: Sequence[str]) -> dict[str, float]:
    """Seconds by cloud; given twice they add up."""
    outages: dict[str, float] = {}
    for text in texts:
        cloud, _, duration = text.partition("=")
        if cloud not in NAMES:
            expected = " or ".join(f"{name}=DURATION" for name in NAMES)
            raise typer.BadParameter(f'expected {expected}, found "{text}"', param_hint="--outage")
        outages[cloud] = outages.get(cloud, 0.0) + _seconds(duration, "--outage")
    return outages


def _empty(keep: Path) -> Path:
    directory = keep.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise typer.BadParameter(f"{keep} is not empty", param_hint="--keep")
    return directory
