"""Data Flow's client, opened for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.ncloud.account import Account, Api
from agent.ncloud.asking import BACKOFF, MOST, PATIENCE, Say, quiet
from agent.ncloud.data_flow.client import DataFlow
from agent.ncloud.gateway import open_gateway
from agent.ncloud.options import GatewayOptions
from agent.ncloud.zones import DATA_FLOW
from agent.timing import Backoff


@asynccontextmanager
async def open_data_flow(
    account: GatewayOptions,
    name: str,
    api: Api | None = None,
    say: Say = quiet,
    *,
    patience: float = PATIENCE,
    backoff: Backoff = BACKOFF,
    most: int = MOST,
) -> AsyncIterator[DataFlow]:
    """
    Data Flow with that account's keys. `name` is what the log calls it; `say` hears of what is asked again.

    `api`: which documents hold; unless told, those that the account names, else the newer ones. `patience`, `backoff`:
    for how many seconds, and after what pauses, a request is tried again. `most`: bytes of an answer.
    The account's `zone` must have Data Flow, which `gateway_problems(account, DATA_FLOW)` tells.
    """
    spoken: Api = api or (account.api if isinstance(account, Account) else "2026")
    async with open_gateway(account, DATA_FLOW, name=name) as gateway:
        yield DataFlow(gateway, spoken, say, patience=patience, backoff=backoff, most=most)
