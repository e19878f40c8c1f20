"""Replay and drop where no agent runs: under the lock, with sinks of the configuration opened as they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent import __version__
from agent.cli.control import NotDone
from agent.config import Config
from agent.delivery import replay as course
from agent.delivery.loop import LONGEST_SEND
from agent.delivery.replay import Outcome, Resend, Tell, Wanted
from agent.errors import DeliveryError, Retryable, StateLocked
from agent.ports import Send
from agent.record import Run
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging
from agent.spool import recovery, shelf
from agent.spool.shelf import Shelf


def with_secrets(config: Config) -> Config:
    """The same with every secret read from its file by now, and hidden in whatever is said."""
    for secret in secrets_in(config.sinks):
        with suppress(OSError):  # the sink that needs it says so
            secret.reveal()
    setup_logging("warning", "text", hide=secrets_in(config))
    return config


async def replay(directory: Path, config: Config, wanted: Wanted, tell: Tell, out: Outcome) -> None:
    """Give letters back to their sinks. Raises a StateError, or NotDone where an agent works here after all."""
    async with AsyncExitStack() as stack:
        with _held(directory) as letters:
            await course.replay(letters, wanted, _ways(directory, _Sinks(config, stack)), tell, out)


async def drop(directory: Path, wanted: Wanted, tell: Tell, out: Outcome) -> None:
    """Drop letters. Raises as `replay` does."""
    with _held(directory) as letters:
        await course.drop(letters, wanted, tell, out)


@contextmanager
def _held(directory: Path) -> Iterator[Shelf]:
    try:
        with shelf.alone(directory, __version__) as letters:
            yield letters
    except StateLocked as error:
        raise NotDone(f"{error}; it takes no orders (yet), its log says why", Exit.TEMPORARY) from error


@dataclass(slots=True, eq=False)
class _Sinks:
    """The sinks of a configuration, each open from when it is first needed."""

    config: Config
    stack: AsyncExitStack
    _open: dict[str, Send] = field(default_factory=dict)

    async def resend(self, name: str, run: Run) -> None:
        """Send one record. Raises Unfit or a DeliveryError."""
        sink = self.config.sinks[name].plugin
        if name not in self._open:
            try:
                async with asyncio.timeout(LONGEST_SEND):
                    self._open[name] = await self.stack.enter_async_context(sink.open())
            except DeliveryError:
                raise
            except Exception as error:
                # Whatever keeps a sink from opening: its letters stay, those of the others need not.
                raise Retryable(f"cannot open: {error!r}") from error
        await course.resend(sink, self._open[name], run)


def _ways(directory: Path, sinks: _Sinks) -> Mapping[str, Resend]:
    """Each sink under its name, and under the former ones that the configuration and its cursors know."""
    ways: dict[str, Resend] = {}
    lanes = recovery.lanes(directory / "lanes", lambda *_: None).values()
    for name, table in sinks.config.sinks.items():
        cursors = [lane.cursors[name][1] for lane in lanes if name in lane.cursors]
        names = {former for cursor in cursors if cursor is not None for former in cursor.names}
        for former in names | ({table.delivery.was} if table.delivery.was else set()):
            ways.setdefault(former, partial(sinks.resend, name))
    return {**ways, **{name: partial(sinks.resend, name) for name in sinks.config.sinks}}
