"""Which account of NAVER Cloud Platform `dataflow` asks for, and the asking itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn, TypeVar

from agent import config as configuration
from agent.cli import state as states
from agent.cli.refused import code_of
from agent.config import Config
from agent.delivery.episode import describe
from agent.errors import DeliveryError
from agent.ncloud import DATA_FLOW, GatewayOptions, gateway_problems
from agent.ncloud.account import Account
from agent.ncloud.data_flow import DataFlow, is_doubtful, open_data_flow
from agent.service.exits import Exit
from agent.service.logs import secrets_in, setup_logging

T = TypeVar("T")

LIKE = """\
  [ncloud]
  access_key = "..."
  secret_key_file = "/etc/telemetry-agent/secrets/ncloud\""""


def account(config: Sequence[Path] | None) -> Account:
    """The account that the files mean. Mistakes in them raise ConfigError, and where there is none the command ends."""
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    setup_logging("warning", "text", hide=secrets_in(loaded))
    return account_of(loaded)


def ask(of: Account, work: Callable[[DataFlow], Awaitable[T]], *, doubt: str = "") -> T:
    """
    What some work with an account's Data Flow gives. Where it is refused, or nobody answers, the command ends.

    `doubt`: what to add where the work may have been done all the same.
    """
    try:
        return asyncio.run(asked(of, work))
    except DeliveryError as error:
        refuse(error, doubt if is_doubtful(error) else "")


async def asked(of: Account, work: Callable[[DataFlow], Awaitable[T]]) -> T:
    """The same within a loop, and with DeliveryErrors as they are."""
    async with open_data_flow(of, "data flow", say=tell) as flow:
        return await work(flow)


def refuse(error: DeliveryError, more: str = "") -> NoReturn:
    """End the command with what the far side said, and with what follows from it."""
    said = describe(error)
    states.fail(states.printable(f"{said}; {more}" if more else said), code_of(error))


def account_of(config: Config) -> Account:
    """The account of [ncloud], or else that of the only cloud_insight sink. Without either the command ends."""
    if config.ncloud is not None:
        return config.ncloud
    sinks = {name: table.plugin for name, table in config.sinks.items() if table.kind == "cloud_insight"}
    if len(sinks) != 1:
        why = f"it could be that of {' or '.join(sinks)}" if sinks else "there is no cloud_insight sink to take it from"
        files = ", ".join(map(str, config.files))
        states.fail(f"{files}: no account for Data Flow: {why}; write\n{LIKE}", Exit.CONFIG)
    ((name, sink),) = sinks.items()
    assert isinstance(sink, GatewayOptions)  # noqa: S101 - what that kind of sink is
    account = Account(**{**{each.name: getattr(sink, each.name) for each in fields(GatewayOptions)}, "url": None})
    problems = [f"sinks.{name}.{key}: {text}" for key, text in gateway_problems(account, DATA_FLOW)]
    if problems:
        states.fail(
            "\n".join([*problems, f"the account for Data Flow can have a table of its own:\n{LIKE}"]), Exit.CONFIG
        )
    return account


def tell(text: str) -> None:
    """Say on standard error what is going on; standard output is for the answer."""
    print(states.printable(text), file=sys.stderr, flush=True)
