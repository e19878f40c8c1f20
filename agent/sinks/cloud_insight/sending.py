"""
Sends the requests of a batch, one after the other, and remembers which rows were taken.

    accepted ──────────────▸ remembered, so that a retry of the batch does not send it again
    too large ─────────────▸ halves, and the smaller size is kept for an hour; a row by itself is sent once more
                             after the others, and left out of a batch of which other rows are taken. Where none
                             are: Rejected
    one schema refused ────▸ the others are still sent; then it is told
    anything else ─────────▸ told at once: it concerns every schema

Nothing of what the service takes can be told apart afterwards: a row sent twice counts twice in SUM and COUNT. So
a batch is never refused once a part of it is taken: its halves would be batches of other names, and sent whole.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from agent.errors import Rejected, Retryable, TooLarge
from agent.ncloud import Gateway
from agent.ncloud.send_data import SEND_DATA, body, unconfirmed
from agent.ports import Parcel
from agent.sinks.cloud_insight.keys import NoKey, resolved
from agent.sinks.cloud_insight.notes import Notes
from agent.sinks.cloud_insight.requests import Request, content

log = structlog.get_logger()

REMEMBERED = 64  # batches under way: more are never planned at once
ROOM_KEPT = 3600.0  # seconds; then a limit that was raised is found out, at the price of a refusal or two
HEARD = 3  # rows by themselves that were too large, and none taken: then it may be any row
OF_ONE_SCHEMA = (400, 404)  # statuses that may be about the key in the request

OnRefused = Literal["retry", "drop"]


@dataclass(slots=True)
class Oversized:
    """A row that was too large by itself."""

    cw_key: str
    row: bytes
    label: str
    why: Rejected


@dataclass(slots=True)
class Progress:
    """How far a batch has come."""

    done: list[int]  # of each request, so many rows, from the first
    taken: int = 0  # of these, over all requests, so many were accepted; the others are left out
    too_large: list[Oversized] = field(default_factory=list)  # those

    def hear(self, enough: int) -> None:
        """Raise Rejected where so many rows are too large that nothing was taken beside: it may be all of them."""
        if len(self.too_large) >= enough and not self.taken:
            why = self.too_large[0].why
            self.done = [0] * len(self.done)
            self.too_large = []
            raise why


class Sending:
    """One sink's way to the gateway. `labels`: what messages call the schema of a cw_key."""

    def __init__(self, gateway: Gateway, labels: Mapping[str, str], *, on_refused: OnRefused) -> None:
        self._gateway = gateway
        self._labels = labels
        self._on_refused = on_refused
        self._notes = Notes(labels)
        self._room, self._room_until = math.inf, math.inf  # bytes of a request, once one was too large; monotonic time
        self._under_way: OrderedDict[str, Progress] = OrderedDict()  # by batch

    async def send(self, parcel: Parcel) -> None:
        """Return once all of it is taken. Raises a DeliveryError."""
        requests, left = content(parcel.body)
        if time.monotonic() >= self._room_until:
            self._room = self._room_until = math.inf
        progress = self._under_way.setdefault(parcel.id, Progress([0] * len(requests)))
        self._under_way.move_to_end(parcel.id)
        while len(self._under_way) > REMEMBERED:
            self._under_way.popitem(last=False)
        failures: dict[str, Retryable] = {}  # by cw_key
        taken: set[str] = set()  # cw_keys
        for n, request in enumerate(requests):
            if request.cw_key in failures and self._on_refused == "retry":
                continue
            before = progress.taken
            try:
                await self._request(request, progress, n)
            except Retryable as failure:
                if not _is_of_one_schema(failure):
                    raise
                failures.setdefault(request.cw_key, failure)
                if self._on_refused == "drop":
                    self._notes.dropped(request.cw_key, len(request.rows) - progress.done[n], failure)
            if progress.taken > before:
                taken.add(request.cw_key)
        for cw_key in sorted(taken - failures.keys()):
            self._notes.accepted(cw_key)
        if failures and self._on_refused == "retry":
            self._say_who_waits(requests, progress, failures)
            raise _told(list(failures.values()))
        progress.hear(1)
        await self._once_more(progress)
        del self._under_way[parcel.id]
        self._notes.left(left, no_rows=not requests)

    def _say_who_waits(
        self, requests: Sequence[Request], progress: Progress, failures: Mapping[str, Retryable]
    ) -> None:
        """Where other schemas are taken, those that are not; where none is, the sink is down, which delivery says."""
        waiting = dict.fromkeys(failures, 0)
        others = 0
        for request, done in zip(requests, progress.done, strict=True):
            if request.cw_key in waiting:
                waiting[request.cw_key] += len(request.rows) - done
            else:
                others += done
        if others:
            for cw_key, rows in waiting.items():
                self._notes.waits(cw_key, rows, failures[cw_key])

    async def _request(self, request: Request, progress: Progress, n: int) -> None:
        """Send what is not taken of a request, in as many pieces as it needs."""
        label = self._labels[request.cw_key]
        key = await resolved(request.cw_key)
        while progress.done[n] < len(request.rows):
            waiting = request.rows[progress.done[n] :]
            count = _fitting(waiting, self._room)
            written = body(key, waiting[:count])
            try:
                answer = await self._gateway.call("POST", SEND_DATA, written)
            except TooLarge as failure:
                if count > 1:
                    self._smaller(len(written) // 2)
                else:
                    reason = f"{label}: a row of {len(written)} bytes: {failure.reason}"
                    refused = Rejected(reason, status=failure.status, answer=failure.answer)
                    progress.too_large.append(Oversized(request.cw_key, request.rows[progress.done[n]], label, refused))
                    progress.done[n] += 1
                    progress.hear(HEARD)
                continue
            except Retryable as failure:
                if failure.status not in OF_ONE_SCHEMA:
                    raise
                reason = f"{label}: {failure.reason}"
                raise Retryable(
                    reason,
                    status=failure.status,
                    answer=failure.answer,
                    ambiguous=failure.ambiguous,
                    operator=failure.operator,
                ) from failure
            if doubt := unconfirmed(label, answer):
                raise doubt
            progress.done[n] += count
            progress.taken += count

    async def _once_more(self, progress: Progress) -> None:
        """What was too large may have come in a moment in which everything was: others were taken since."""
        while progress.too_large:
            one = progress.too_large[0]
            try:
                answer = await self._gateway.call("POST", SEND_DATA, body(await resolved(one.cw_key), [one.row]))
            except TooLarge:
                self._notes.too_large(one.label, one.why)
            else:
                if doubt := unconfirmed(one.label, answer):
                    raise doubt
                progress.taken += 1
            del progress.too_large[0]

    def _smaller(self, room: int) -> None:
        self._room, self._room_until = min(self._room, room), time.monotonic() + ROOM_KEPT
        log.info("requests become smaller", far_side="cloud_insight", bytes=round(self._room))


def _fitting(rows: Sequence[bytes], room: float) -> int:
    """How many of the rows, from the first, make a body within that many bytes: one at least."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row) + 1
        if count and size > room:
            return count
    return len(rows)


def _is_of_one_schema(failure: Retryable) -> bool:
    return isinstance(failure, NoKey) or (
        type(failure) is Retryable
        and failure.status is not None
        and (failure.status in OF_ONE_SCHEMA or 200 <= failure.status < 300)
    )


def _told(failures: Sequence[Retryable]) -> Retryable:
    """One error for those of several schemas."""
    first = failures[0]
    if len(failures) == 1:
        return first
    return Retryable(
        "; ".join(dict.fromkeys(each.reason for each in failures)),
        status=first.status,
        answer=first.answer,
        ambiguous=any(each.ambiguous for each in failures),
        operator=all(each.operator for each in failures),
    )
