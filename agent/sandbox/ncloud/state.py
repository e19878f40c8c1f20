"""What one stand-in is made of: its switches, its keys and schemas, its books and what it does wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.sandbox.faults import Faults
from agent.sandbox.ncloud.gateway import Keys, Rate
from agent.sandbox.ncloud.ledger import Ledger, Request
from agent.sandbox.ncloud.schemas import Schemas
from agent.sandbox.ncloud.settings import Settings


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """Shared by the calls."""

    settings: Settings
    keys: Keys
    schemas: Schemas
    ledger: Ledger
    faults: Faults = field(default_factory=Faults)
    rate: Rate = field(default_factory=Rate)

    def now_ms(self) -> int:
        """The far side's clock."""
        return int((time.time() + self.settings.clock_offset) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that has come through the gateway."""

    value: object
    query: Mapping[str, str]
    entry: Request
    position: int  # of the entry in the books
    now_ms: int
