"""Lists by the page: numbered from 0, 1,000 to one unless told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from agent.sandbox.ncloud.answers import Answer, value
from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.state import Call, State

Item = TypeVar("Item")
LIMIT = 1000


def page(state: State, call: Call, items: Sequence[Item]) -> Answer:
    """One page of what was made in this order. ProblemError."""
    number, limit = _whole(call, "page", 0), _whole(call, "limit", LIMIT)
    if not 1 <= limit <= LIMIT:
        raise bad_parameter(f"limit: must be from 1 to {LIMIT}.")
    # Which comes first is not published; a client that relies on either is found out by the other.
    ordered = items[::-1] if state.settings.newest_first else items
    shown = list(ordered[number * limit : (number + 1) * limit])
    count = len(shown) if state.settings.count == "page" else len(items)
    return value({"list": shown, "count": count, "page": number, "limit": limit})


def _whole(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise bad_parameter(f"{name}: must be an integer of 0 or more.")
    return int(text)
