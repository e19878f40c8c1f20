"""Opening a sink: tried until it opens, by backoff."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from random import Random

from agent.delivery.episode import Episode, describe
from agent.errors import DeliveryError
from agent.ports import Send, Sink
from agent.stats import Part
from agent.timing import Backoff


async def opened(
    sink: Sink, stack: AsyncExitStack, *, episode: Episode, part: Part, rng: Random, longest: float, slack: float
) -> Send:
    """What sends, held open by `stack`. No try takes longer than `longest`; `slack`: how late a beat may be."""
    backoff, failures = Backoff(), 0
    while True:
        part.beat(within=longest + slack)
        try:
            async with asyncio.timeout(longest) as limit:
                send = await stack.enter_async_context(sink.open())
        except Exception as error:  # noqa: BLE001 - whatever keeps a sink from opening is waited out
            reason = describe(error) if isinstance(error, DeliveryError) else repr(error)
            if limit.expired():
                reason = f"not open within {longest:.0f} s"
            episode.cannot_open(reason)
            pause = backoff.delay(failures, rng)
            failures += 1
            part.beat(within=pause + slack)
            await asyncio.sleep(pause)
        else:
            episode.opened(failures)
            return send
