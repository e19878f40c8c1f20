"""What the agent says of itself as events: its starts, its stops, and the outages of its sinks; and how it starts."""

from agent.lifecycle.lifecycle import Lifecycle
from agent.lifecycle.power import head_start

__all__ = ["Lifecycle", "head_start"]
