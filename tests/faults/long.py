"""The rows of long times and of crowds, in simulated time."""

from __future__ import annotations

from faults import long_crowd, long_outage, long_trouble

__all__ = ["long_crowd", "long_outage", "long_trouble"]
