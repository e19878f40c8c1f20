"""From collectors to the spool: check every payload, stamp it, route it to the lanes that want it."""

from agent.intake.intake import Intake
from agent.intake.lately import has_other_heads, told_since

__all__ = ["Intake", "has_other_heads", "told_since"]
