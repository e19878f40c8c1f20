"""What one stand-in is made of: its clock, its users, its books, its settings and what it does wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agent.sandbox.faults import Faults
from agent.sandbox.rackspace.answers import Build
from agent.sandbox.rackspace.clock import Clock
from agent.sandbox.rackspace.elasticsearch import Index, Mode
from agent.sandbox.rackspace.event import Window
from agent.sandbox.rackspace.gate import Gate
from agent.sandbox.rackspace.ledger import Ledger, Side
from agent.sandbox.rackspace.tokens import Tokens


def _faults() -> Mapping[Side, Faults]:
    return {"ingest": Faults(), "query": Faults(), "identity": Faults()}


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """Shared by the three sides."""

    clock: Clock
    tokens: Tokens
    ledger: Ledger
    gate: Gate | None  # None: self-hosted, nobody asks for a token
    faults: Mapping[Side, Faults] = field(default_factory=_faults)
    mode: Mode = "naive"
    build: Build = "2022-09"
    index: Index = "keyword"
    doubles: bool = True  # Elasticsearch takes a key twice, the last one counts
    window: Window = field(default_factory=Window)
    body_limit: int = 1_048_576  # HTTP_MAX_CONTENT_LENGTH
    visible_after: float = 1.0  # seconds until a document is found
    max_results: int = 10_000  # MAX_DISCOVERY_RESULT_SIZE
    dated: bool = True  # whether answers have a Date: a proxy's have, bare Blueflood sets none
    expires_form: Literal["Z", "offset"] = "Z"
    urls: dict[Side, str] = field(default_factory=dict)
