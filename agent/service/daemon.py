"""One life of the daemon: from agent.toml to an exit code, with what the host sees of it meanwhile."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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

    HUP reads the files again. What is wrong in them is said and changes nothing; otherwise what has changed is
    swapped while the rest works on (`supervisor.swap`). Where they differ in what all parts depend on, everything
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
        kind: supervisor.Life = "start"
        while not asked.stop.is_set():
            life = _Life(current, paths, asked)
            try:
                await life.run(kind)
            except (AgentError, OSError, ExceptionGroup) as error:
                if former is None or life.is_running:
                    raise
                # A file without mistakes may still ask for what cannot be had: a port, a directory.
                why = "; ".join(str(leaf) for leaf in leaves(error))
                log.error("the new configuration cannot run, back to the former one", reason=why)
                current, former = former, None
                continue
            current, former, kind = life.following, life.config, "reload"
        return Exit.OK

    return serve(main)


class _Life:
    """From a start to a stop, or to a configuration that everything has to start anew for."""

    def __init__(self, config: Config, paths: Sequence[Path], asked: Signals) -> None:
        self.config = config  # as it runs now
        self.following = config  # the one to go on with after this life
        self.is_running = False  # whether it has come so far that everything runs
        self._paths = paths
        self._asked = asked
        self._ended = asyncio.Event()

    async def run(self, kind: supervisor.Life) -> None:
        """Live it."""
        _set_up_logging(self.config)
        stop = asyncio.create_task(self._follow_stop())
        try:
            await supervisor.run(self.config, self._ended, self._beside, _recovering, life=kind)
        finally:
            stop.cancel()
            await asyncio.gather(stop, return_exceptions=True)

    async def _follow_stop(self) -> None:
        await self._asked.stop.wait()
        self._ended.set()

    @asynccontextmanager
    async def _beside(self, running: Running) -> AsyncIterator[None]:
        async with _looked_at(running):
            self.is_running = True
            reloads = asyncio.create_task(self._follow_reloads(running))
            try:
                yield
            finally:
                reloads.cancel()
                await asyncio.gather(reloads, return_exceptions=True)

    async def _follow_reloads(self, running: Running) -> None:
        while not self._ended.is_set():
            await self._asked.reload.wait()
            self._asked.reload.clear()  # before the files are read: a HUP from here on has them read once more
            systemd.reloading()
            try:
                await self._reload(running)
            except Exception:
                # A bug, said with its trace: it must not cost the reloads to come.
                log.exception("not reloaded")
                systemd.ready("running; the last reload failed, see the log")

    async def _reload(self, running: Running) -> None:
        try:
            config = await asyncio.to_thread(load, self._paths)
        except ConfigError as error:
            for problem in error.problems:
                log.error("configuration", where=problem.where, problem=problem.text)
            log.error("not reloaded, the former configuration stays", problems=len(error.problems))
            systemd.ready("running; the last reload was refused, see the log")
            return
        if config == self.config:  # the hash leaves secrets out
            log.info("reloaded, nothing has changed", config=config.config_hash[:12])
            systemd.ready()
        elif supervisor.is_enough(self.config, config):
            await self._swap(running, config)
        else:
            self._start_anew(config)

    async def _swap(self, running: Running, config: Config) -> None:
        former, began = self.config, time.monotonic()
        _set_up_logging(config, former)
        try:
            swap = await supervisor.swap(running, config)
        except supervisor.NotSwapped as why:
            if not self._ended.is_set():
                self._start_anew(config, why=str(why))
            return
        except supervisor.SwapUndone as why:
            setup_logging(former.log.level, former.log.format, hide=secrets_in(former))
            log.error("the new configuration cannot run, back to the former one", reason=str(why))
            systemd.ready("running; the last reload was undone, see the log")
            return
        self.config = self.following = config
        log.info(
            "reloaded",
            config=config.config_hash[:12],
            former=former.config_hash[:12],
            kept=len(swap.kept),
            changed=swap.changed,
            added=swap.added,
            removed=swap.removed,
            seconds=round(time.monotonic() - began, 3),
        )
        systemd.ready(_summary(running))

    def _start_anew(self, config: Config, why: str = "") -> None:
        """Everything winds down, and starts with that configuration."""
        if config.spool.directory != self.config.spool.directory:
            log.warning(
                "the spool moves, what waits in the former directory stays there",
                former=str(self.config.spool.directory),
                directory=str(config.spool.directory),
                see="telemetry-agent spool status --state " + str(self.config.spool.directory),
            )
        log.info(
            "reloading, everything starts anew",
            config=config.config_hash[:12],
            former=self.config.config_hash[:12],
            reason=why or "[agent], [spool], [status] or what [[dataflow]] runs has changed",
        )
        self.following = config
        self._ended.set()


def _set_up_logging(config: Config, former: Config | None = None) -> None:
    """Log as the configuration has it, and say what is doubtful in it; secrets of the former one stay hidden."""
    hidden = [*secrets_in(config), *secrets_in(former)]
    setup_logging(config.log.level, config.log.format, hide=hidden)
    for warning in config.warnings:
        log.warning("configuration", where=warning.where, doubt=warning.text)


def _recovering(text: str) -> None:
    """A long recovery gets on: neither the start's time limit nor the watchdog (at a reload) may end it."""
    systemd.extend(RECOVERY_SECONDS)
    systemd.notify("WATCHDOG=1")
    systemd.status(text)


@asynccontextmanager
async def _looked_at(running: Running) -> AsyncIterator[None]:
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
