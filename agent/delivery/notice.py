"""What delivery tells the rest of the agent about a sink, beside the log: for events about outages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

What = Literal["down", "refusing", "up", "gap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    A change in how a sink fares, or a stretch of records that it will never get. Times are wall clock, ms.

    "down", "refusing": it takes nothing, since then; `until_ms` is None. Either may follow the other
    without an "up" between, with the same `since_ms`: it is one outage.
    "up": it takes again; the outage lasted from `since_ms` to `until_ms`.
    "gap": `records` grew too old while they waited; the first and the last of them were taken in at
    `since_ms` and `until_ms`.
    """

    sink: str
    what: What
    reason: str
    since_ms: int
    until_ms: int | None
    records: int  # of a gap: how many are lost to the sink; else how many wait for it


Tell = Callable[[Notice], None]  # on the event loop; must not raise, nor wait
