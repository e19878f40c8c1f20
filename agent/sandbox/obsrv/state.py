"""What one stand-in is made of: its tables, its pipeline, its books and what it does wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.sandbox.faults import Faults
from agent.sandbox.obsrv.datasets import Catalogue
from agent.sandbox.obsrv.ledger import Ledger
from agent.sandbox.obsrv.pipeline import Pipeline
from agent.sandbox.obsrv.tokens import Rbac


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """Shared by the routes."""

    catalogue: Catalogue
    ledger: Ledger
    faults: Faults = field(default_factory=Faults)
    pipeline: Pipeline = field(default_factory=Pipeline)
    rbac: Rbac | None = None  # None: is_rbac_enabled is false
    body_limit: int = 100 * 1024 * 1024  # body_parser_limit
    max_message: int = 5_000_012  # the broker's, for one compressed record
    publishes: bool = True  # whether the command service is there, which makes a dataset Live
