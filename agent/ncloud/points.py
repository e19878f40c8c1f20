"""QueryData (`POST /cw_fea/real/cw/api/data/query`): where it is, and the points in its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

QUERY_DATA = "/cw_fea/real/cw/api/data/query"


def points(value: Any) -> Iterator[tuple[int, float]]:
    """
    Every [time in ms, value] there is, however they are wrapped; what has no value is no point.

    The outer shape is not published (QueryData, "Response").
    """
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            if len(each) == 2 and all(isinstance(part, int | float) and not isinstance(part, bool) for part in each):
                yield int(each[0]), float(each[1])
            else:
                waiting += each
