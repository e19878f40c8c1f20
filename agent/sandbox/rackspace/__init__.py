"""A stand-in for Rackspace Metrics (Blueflood's events) and Rackspace Identity, in this process or one of its own."""

from agent.sandbox.rackspace.server import Sandbox
from agent.sandbox.rackspace.tokens import User

__all__ = ["Sandbox", "User"]
