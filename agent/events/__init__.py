"""Events out of metrics: rules that watch a field of the records passing by, and say when its state changes."""

from agent.events.kept import KeptRules
from agent.events.memory import Memory
from agent.events.rule import BOOKS, OWN, SOURCE, Rule
from agent.events.watch import Event, Rules, Watch

__all__ = ["BOOKS", "OWN", "SOURCE", "Event", "KeptRules", "Memory", "Rule", "Rules", "Watch"]
