"""
Rackspace Metrics, and Blueflood behind it: one annotation ("event") a request.

`texts` makes what, tags and data out of a record; `sending` sends them, through `service` (requests, tokens, pace),
with values written as `escaping` says and `probing` finds out; `answers` judges.
"""

from agent.sinks.rackspace.sink import Rackspace

__all__ = ["Rackspace"]
