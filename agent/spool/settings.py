"""What the operator decides about the spool, with everything derived resolved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

SMALLEST_SEGMENT, LARGEST_SEGMENT = 128 * KIB, 64 * MIB

Durability = Literal["strict", "interval", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The `[spool]` table, resolved."""

    directory: Path
    durability: Durability = "strict"
    interval: float = 1.0  # seconds between syncs where durability is "interval"
    max_bytes: int  # of all lanes together
    min_free_bytes: int  # below this much free disk the oldest goes
    max_age: float = 7 * 86400.0  # delivery expires what is older
    max_record: int = 256 * KIB
    segment_bytes: int | None = None  # None: derived from max_bytes
    retire_after: float = 86400.0  # how long the cursor of a removed sink holds its records
    dead_max_bytes: int = 64 * MIB
    dead_max_age: float = 30 * 86400.0

    @property
    def segment_size(self) -> int:
        """Bytes after which a segment is full."""
        if self.segment_bytes is not None:
            return self.segment_bytes
        return max(SMALLEST_SEGMENT, min(self.max_bytes // 8, LARGEST_SEGMENT))


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: one for each configured sink."""

    sink: str
    lane: str
    start: Literal["oldest", "newest"] = "oldest"  # for its first run only
    on_full: Literal["drop_oldest", "block"] = "drop_oldest"
    was: str | None = None  # the sink's former name


def default_limits(directory: Path) -> tuple[int, int]:
    """`max_bytes` and `min_free_bytes` for a spool in that directory, which need not exist yet."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    size = found.f_blocks * found.f_frsize
    return max(MIB, min(GIB, size // 10)), min(512 * MIB, size // 20)
