"""Opens the HTTP client, which is loaded by then: the start of an agent, and its first record, do not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from agent.http.options import HttpOptions

if TYPE_CHECKING:
    from agent.http.client import Client


@asynccontextmanager
async def open_client(options: HttpOptions, *, keepalive: float = 15.0) -> AsyncIterator[Client]:
    """A client. Connections idle for `keepalive` seconds are dropped: choose less than the far side does."""
    opened = await asyncio.to_thread(_load)
    async with opened(options, keepalive) as client:
        yield client


def _load() -> Callable[[HttpOptions, float], AbstractAsyncContextManager[Client]]:
    from agent.http.client import opened

    return opened
