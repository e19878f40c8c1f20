"""From collectors to the spool: check every payload, stamp it, route it to the lanes that want it."""

from agent.intake.intake import Intake

__all__ = ["Intake"]
