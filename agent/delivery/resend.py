"""One record more, beside what the cursors have: how a dead letter is given back to its sink."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress

from agent.delivery.form import BrokenSinkError, Draft, draft
from agent.delivery.hands import Hands
from agent.delivery.pulse import Pulse
from agent.delivery.tally import Tally
from agent.delivery.verdict import LONGEST_PAUSE
from agent.errors import DeliveryError, Retryable, Throttled, Unfit
from agent.ports import Parcel, Send, Sink
from agent.record import Run, batch_id


class Resending:
    """Sends runs through an open sink, one after the other. What comes of them is the caller's to judge."""

    def __init__(
        self, sink: Sink, *, hands: Hands, tally: Tally, pulse: Pulse, pause: Callable[[float], float], longest: float
    ) -> None:
        self.through: Send | None = None  # while the sink is open
        self._sink = sink
        self._hands = hands
        self._tally = tally
        self._pulse = pulse
        self._pause = pause  # seconds for which the far side has asked to be left alone
        self._longest = longest
        self._not_before = 0.0  # what it asked of us here
        self._is_over = False
        self._one = asyncio.Lock()

    async def send(self, run: Run) -> None:
        """Return once the far side has taken it; raises Unfit, a DeliveryError, or BrokenSinkError."""
        async with self._one:
            made = _whole(run, await self._hands.do(draft, self._sink, run, math.inf))
            body = made.body or b""
            parcel = Parcel(batch_id(made.segment, made.first, made.count, made.crc), body, made.count)
            through = await self._opening()
            try:
                await self._send(through, parcel)
            except Exception as error:
                self._tally.requested(error, len(body), again=False)
                raise
            self._tally.requested(None, len(body), again=False)

    def end(self) -> None:
        """The sink will not be opened again: whoever waits for that is told."""
        self._is_over = True
        self._pulse.stir()

    async def _send(self, send: Send, parcel: Parcel) -> None:
        try:
            async with asyncio.timeout(self._longest):
                await send(parcel)
        except Throttled as throttled:
            if throttled.retry_after > 0:
                clock = asyncio.get_running_loop().time
                self._not_before = clock() + min(throttled.retry_after, LONGEST_PAUSE)
            raise
        except (Unfit, DeliveryError):
            raise
        except TimeoutError as error:
            raise Retryable(f"no outcome within {self._longest:.0f} s", ambiguous=True) from error
        except Exception as bug:
            raise BrokenSinkError(bug) from bug

    async def _opening(self) -> Send:
        """Wait until something may be sent, and give what sends it."""
        clock = asyncio.get_running_loop().time
        while True:
            if self._is_over:
                raise Retryable("the sink has another configuration by now: try again")
            now = clock()
            left = math.inf if self.through is None else max(self._not_before - now, self._pause(now))
            if self.through is not None and left <= 0:
                return self.through
            with suppress(TimeoutError):
                async with asyncio.timeout(left if left < math.inf else None):
                    await self._pulse.wait()


def _whole(run: Run, drafts: list[Draft]) -> Draft:
    """The run as one batch; raises what stands against that."""
    unfit = {index - run.first: reason for each in drafts for index, reason in (each.unfit or {}).items()}
    if unfit:
        raise Unfit(unfit)
    for each in drafts:
        if each.bug is not None:
            raise BrokenSinkError(each.bug)
    [made] = drafts
    return made
