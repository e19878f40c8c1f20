"""Dates as Data Flow writes them, in its two styles, and as it reads them; inside, ms of the epoch."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from agent.sandbox.ncloud.settings import Settings

ZONE = timezone(timedelta(hours=9))  # samples of the newer pages; those of the older name none


def said(ms: int | None, settings: Settings) -> str | None:
    """`2024-07-10T14:16:01+09:00` (getWorkflows), or `2023-10-20T13:45:15.000` in the same zone (older samples)."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1000, ZONE)
    if settings.dates == "local":
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return moment.isoformat(timespec="seconds")


def read(text: str) -> int:
    """ISO 8601; without a zone, in that of the server. ValueError."""
    if "T" not in text:
        raise ValueError(f"{text!r} is no date with a time")
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).timestamp() * 1000)
