"""The service as a process: the signals it answers, and the exit code it ends with."""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import math
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog

from agent.errors import AgentError
from agent.service.exits import exit_code, leaves
from agent.service.systemd import stopping

log = structlog.get_logger()

# A terminal's ^C reaches the agent and the wrapper that started it, and some wrappers pass it on:
# two signals within this time are one wish.
ECHO_SECONDS = 0.5
_STOP = (signal.SIGTERM, signal.SIGINT)
# While no descriptor is free, asyncio tells of every try to accept a connection, a hundred times a second.
_STARVED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SAY_AGAIN = 60.0  # seconds between two lines about that


class Signals(NamedTuple):
    """What was asked of the service. `reload` is cleared by whoever carries it out."""

    stop: asyncio.Event
    reload: asyncio.Event


@contextmanager
def signals() -> Iterator[Signals]:
    """
    Answer signals for as long as the block lasts (main thread, on the running loop).

    The first TERM or INT sets `stop`. From then on these signals have their default action back: the
    second one ends the process at once, by the kernel and not by a loop that may be the thing that
    hangs. That is safe at any moment: it is what the spool survives anyway.
    """
    loop = asyncio.get_running_loop()
    asked = Signals(asyncio.Event(), asyncio.Event())
    handlers = {number: signal.getsignal(number) for number in (*_STOP, signal.SIGHUP)}

    def arm() -> None:
        for number in _STOP:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    def on_stop(number: signal.Signals) -> None:
        if asked.stop.is_set():
            return
        asked.stop.set()
        stopping("stopping")
        log.info("stopping", signal=number.name, again="ends it at once")
        loop.call_later(ECHO_SECONDS, arm)

    for number in _STOP:
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, asked.reload.set)
    try:
        yield asked
    finally:
        for number, before in handlers.items():
            loop.remove_signal_handler(number)
            # None: not installed from Python, so not for us to put back. After a first TERM the
            # handlers stay as `arm` leaves them, or a second one would be lost while the loop closes.
            if asked.stop.is_set() and number in _STOP:
                signal.signal(number, signal.SIG_DFL)
            elif before is not None:
                signal.signal(number, before)


def trouble_handler() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """For the loop's `set_exception_handler`: what is told without end for want of descriptors, once a minute."""
    said = -math.inf

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _STARVED:
            loop.default_exception_handler(context)
        elif loop.time() - said >= SAY_AGAIN:
            said = loop.time()
            log.error("connections cannot be taken in", reason=str(error))

    return handle


def serve(main: Callable[[Signals], Awaitable[int]]) -> int:
    """
    Run `main` as a service and give the exit code.

    Signals are answered before `main` does anything, so that an early HUP does not end the process.
    An error that ends `main` is said once and becomes its exit code.
    """
    # A watchdog that loses patience sends SIGABRT: every thread then says where it stands.
    faulthandler.enable()

    async def body() -> int:
        asyncio.get_running_loop().set_exception_handler(trouble_handler())
        with signals() as asked:
            return await main(asked)

    try:
        return asyncio.run(body())
    except Exception as error:  # the last place to say why the program ends; the code tells the host
        code = exit_code(error)
        reasons = list(leaves(error))
        if all(isinstance(reason, AgentError | OSError) for reason in reasons):
            log.error("ended by an error", error="; ".join(map(str, reasons)), exit=int(code))
        else:
            log.exception("ended by an error", exit=int(code))
        return int(code)
