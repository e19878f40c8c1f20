"""What one stand-in is made of: its switches, its keys and schemas, its books and what it does wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.sandbox.faults import Faults
from agent.sandbox.ncloud.answers import Answer
from agent.sandbox.ncloud.flow.books import Flow
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
    flow: Flow = field(init=False)

    def __post_init__(self) -> None:
        self.flow = Flow(self.settings, self.now_ms, self.ledger.executed)

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
    ids: Mapping[str, str] = field(default_factory=dict)  # by the names that the route has for them


Handler = Callable[[State, Call], Answer]
Routes = Mapping[tuple[str, str], tuple[str, Handler]]  # method and path, where {name} is any one segment: right, call
