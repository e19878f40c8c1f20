"""One life of the daemon: from agent.toml to an exit code, with what the host sees of it meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent import SPOOL_FORMAT, __version__, supervisor
from agent.config import Config, load
from agent.errors import AgentError, ConfigError, ListenError
from agent.service import overview, systemd
from agent.service.exits import Exit, leaves
from agent.service.logs import secrets_in, setup_logging
from agent.service.orders import Orders
from agent.service.process import Signals, serve
from agent.service.watchdog import Watchdog
from agent.status import control
from agent.supervisor import Running

log = structlog.get_logger()

RECOVERY_SECONDS = 60.0  # what a recovery that gets on is given at each sign of life; it gives one every 2 s
STATUS_SECONDS = 30.0  # how often `systemctl status` gets a fresh line


def daemon(paths: Sequence[Path]) -> int:
    """
    Run the agent that these files describe until it is asked to stop; gives the exit code.

    HUP reads the files again. What is wrong in them is said and changes nothing; otherwise everything
    winds down and starts anew with them, in the same process, and the spool bridges the gap.
    """
    # Until `serve` answers signals, a HUP would end the process, and there is nothing to read again yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    setup_logging()
    try:
        config = load(paths)
    except ConfigError as error:
        for problem in error.problems:
            log.error("configuration", where=problem.where, problem=problem.text)
        log.error("the configuration is wrong", problems=len(error.problems), exit=int(Exit.CONFIG))
        return Exit.CONFIG

    async def main(asked: Signals) -> int:
        current, former = config, None
        life: supervisor.Life = "start"
        while not asked.stop.is_set():
            began = _Began()
            try:
                after = await _one_life(current, paths, asked, began, life)
            except (AgentError, OSError, ExceptionGroup) as error:
                if former is None or began.is_running:
                    raise
                # A file without mistakes may still ask for what cannot be had: a port, a directory.
                why = "; ".join(str(leaf) for leaf in leaves(error))
                log.error("the new configuration cannot run, back to the former one", reason=why)
                current, former = former, None
                continue
            current, former, life = after, current, "reload"
        return Exit.OK

    return serve(main)


@dataclass(slots=True)
class _Began:
    """Whether a life has come so far that everything runs."""

    is_running: bool = False


async def _one_life(
    config: Config, paths: Sequence[Path], asked: Signals, began: _Began, life: supervisor.Life
) -> Config:
    """Run until a stop, or until a HUP brings another configuration; gives the one to go on with."""
    setup_logging(config.log.level, config.log.format, hide=secrets_in(config))
    for warning in config.warnings:
        log.warning("configuration", where=warning.where, doubt=warning.text)
    ended = asyncio.Event()
    after = config

    async def follow_reloads() -> None:
        nonlocal after
        while True:
            await asked.reload.wait()
            asked.reload.clear()
            systemd.reloading()
            try:
                after = await asyncio.to_thread(load, paths)
            except ConfigError as error:
                for problem in error.problems:
                    log.error("configuration", where=problem.where, problem=problem.text)
                log.error("not reloaded, the former configuration stays", problems=len(error.problems))
                systemd.ready("running; the last reload was refused, see the log")
                continue
            if after == config:  # the hash leaves secrets out
                log.info("reloaded, nothing has changed", config=config.config_hash[:12])
                systemd.ready()
                continue
            if after.spool.directory != config.spool.directory:
                log.warning(
                    "the spool moves, what waits in the former directory stays there",
                    former=str(config.spool.directory),
                    directory=str(after.spool.directory),
                    see="telemetry-agent spool status --state " + str(config.spool.directory),
                )
            log.info("reloading", config=after.config_hash[:12], former=config.config_hash[:12])
            ended.set()
            return

    async def follow_stop() -> None:
        await asked.stop.wait()
        ended.set()

    followers = [asyncio.create_task(follow_reloads()), asyncio.create_task(follow_stop())]
    try:
        await supervisor.run(config, ended, lambda running: _beside(running, began), _recovering, life=life)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
    return after


def _recovering(text: str) -> None:
    """A long recovery gets on: neither the start's time limit nor the watchdog (at a reload) may end it."""
    systemd.extend(RECOVERY_SECONDS)
    systemd.notify("WATCHDOG=1")
    systemd.status(text)


@asynccontextmanager
async def _beside(running: Running, began: _Began) -> AsyncIterator[None]:
    """What watches a running agent and tells it what to do: status pages, control socket, watchdog, systemd."""
    config = running.config
    watchdog = Watchdog(health=running.health, alive=running.spool.alive)
    started = time.time()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(control.serve(config.spool.directory, Orders(running).table))
        except OSError as error:
            # Nothing it collects or sends needs this; whoever wants to give it an order is told to stop it first.
            log.warning("no control socket, orders cannot be given while it runs", reason=str(error))
        if config.status.enabled:
            # Imported here: an agent without status pages does not pay for them.
            from agent.status.pages import pages
            from agent.status.server import serve

            host, port = config.status.address
            view = overview.view(running, started, watchdog)
            try:
                await stack.enter_async_context(serve(pages(view), host, port, names=config.status.host_names))
            except OSError as error:
                reason = (
                    "is taken by another process"
                    if error.errno == errno.EADDRINUSE
                    else f"cannot be listened on ({os.strerror(error.errno) if error.errno else error})"
                )
                raise ListenError(
                    f"status.listen: {config.status.listen} {reason}; choose another, or [status] enabled = false"
                ) from error
        tasks = [asyncio.create_task(watchdog.run()), asyncio.create_task(_tell_systemd(running))]
        stack.callback(lambda: [task.cancel() for task in tasks])
        log.info(
            "running",
            version=__version__,
            config=config.config_hash[:12],
            spool=str(config.spool.directory),
            spool_format=SPOOL_FORMAT,
            durability=config.spool.durability,
            collectors=len(config.collectors),
            sinks=len(config.sinks),
            status=config.status.listen if config.status.enabled else "off",
        )
        systemd.ready(_summary(running))
        began.is_running = True
        yield
    await asyncio.gather(*tasks, return_exceptions=True)
    log.info("stopped", queued=overview.queued(running))


async def _tell_systemd(running: Running) -> None:
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        systemd.status(_summary(running))


def _summary(running: Running) -> str:
    """One line: what is not up, and how much waits."""
    unmet = [
        f"{part.kind} {part.name}: {part.state}{f' ({part.reason})' if part.reason else ''}"
        for part in running.health.parts.values()
        if part.state != "up"
    ]
    return f"{overview.queued(running)} records wait; " + ("; ".join(unmet) if unmet else "everything is up")
