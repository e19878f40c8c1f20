"""From the spool to the sinks: batches, retries, and whose fault it is when one is refused."""

from agent.delivery.loop import Delivery
from agent.delivery.window import Bodies

__all__ = ["Bodies", "Delivery"]
