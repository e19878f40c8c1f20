"""The durable queue between collectors and sinks, and nothing else (docs/spool-format.md)."""

from agent.spool.books import CursorReport, Finding, Report, audit
from agent.spool.cursor import Cursor
from agent.spool.lane import Gap, Lane
from agent.spool.ledger import Ledger, Plan, State
from agent.spool.part import Kind, Part
from agent.spool.reading import NotYet, Stretch
from agent.spool.scan import NotAtHand
from agent.spool.settings import Reader, Settings, default_limits
from agent.spool.spool import Spool

__all__ = [
    "Cursor",
    "CursorReport",
    "Finding",
    "Gap",
    "Kind",
    "Lane",
    "Ledger",
    "NotAtHand",
    "NotYet",
    "Part",
    "Plan",
    "Reader",
    "Report",
    "Settings",
    "Spool",
    "State",
    "Stretch",
    "audit",
    "default_limits",
]
