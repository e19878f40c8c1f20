"""
What the collectors of one run leave for those of the next: the topics that their broker sessions were subscribed to.

A session outlives the agent, and so do its subscriptions: a topic that was taken out of agent.toml must be
unsubscribed by whoever still knows of it. One small JSON file in the state directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.replacing import replace_file

Filters = Mapping[str, tuple[str, ...]]  # by collector

NAME = "subscriptions.json"


def read(directory: Path) -> Filters:
    """What the last run left; nothing where the file is missing or damaged: then topics stay subscribed."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=dict[str, tuple[str, ...]])
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):  # ValueError: no UTF-8
        return {}


def write(directory: Path, filters: Filters) -> None:
    """Leave this for the next run. Raises OSError where the disk takes nothing."""
    replace_file(directory / NAME, msgspec.json.encode(filters), durable="nothing")
