"""From the spool to the sinks: batches, retries, and whose fault it is when one is refused."""

from agent.delivery.form import BrokenSinkError
from agent.delivery.loop import Delivery
from agent.delivery.notice import Notice, Tell
from agent.delivery.window import Bodies

__all__ = ["Bodies", "BrokenSinkError", "Delivery", "Notice", "Tell"]
