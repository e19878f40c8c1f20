"""Obsrv's data-in API: `shapes` and `integers` make events out of records, `sink` sends, `answers` judges."""

from agent.sinks.obsrv.sink import Obsrv

__all__ = ["Obsrv"]
