"""What the agent says of itself as events: its starts, its stops, and the outages of its sinks."""

from agent.lifecycle.lifecycle import Lifecycle

__all__ = ["Lifecycle"]
