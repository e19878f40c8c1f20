"""
Lists that come in pages: `page` counts from 0, `limit` is a page's length, 1000 unless told (getJobs, getWorkflows).

What `count` is, the documents do not agree on: the total in older ones, the number of results in newer ones. So a
list ends with the page that is shorter than `limit`, unless `count` exceeds what has come: then it is the total.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import orjson

from agent.ncloud.asking import Say, Unreadable

Item = dict[str, Any]
Pages = AsyncGenerator[list[Item], None]
Ask = Callable[[int, int], Awaitable[Any]]  # (page, limit) -> the decoded answer

PAGE = 1000
MOST_PAGES = 1000


async def pages(ask: Ask, key: str, *, size: int = PAGE, say: Say) -> Pages:
    """
    What each page has that no page before it had, until the list ends. `key`: the member that tells items apart.

    A page that is nothing but a repetition ends the list, for a far side that overlooks `page` would go on for ever.
    Raises Unreadable for an answer that is no page, for a list that ends before its `count`, and after MOST_PAGES.
    """
    known: set[bytes] = set()
    for number in range(MOST_PAGES):
        answer = await ask(number, size)
        found, count, limit = _read(answer, size)
        fresh = []
        for item in found:
            name = orjson.dumps(item.get(key, item), option=orjson.OPT_SORT_KEYS)
            if name not in known:
                known.add(name)
                fresh.append(item)
        if fresh:
            yield fresh
        elif found:
            if count > max(len(known), len(found)):
                raise Unreadable(f"page {number} repeats earlier ones: {len(known)} of {count} entries can be read")
            say(f"page {number} repeats earlier ones: if there are more than {len(known)} entries, the rest is missing")
            return
        if not found or (len(found) < limit and count <= len(known)):
            return
    raise Unreadable(f"the list has more than {MOST_PAGES} pages of {size}")


async def listed(found: Pages, most: int | None = None) -> list[Item]:
    """The items of all pages, or the first `most`: no page is asked for that is not needed."""
    items: list[Item] = []
    if most is not None and most <= 0:
        return items
    async with aclosing(found):
        async for page in found:
            items += page
            if most is not None and len(items) >= most:
                break
    return items[:most]


def _read(answer: Any, size: int) -> tuple[list[Item], int, int]:
    """Items, count (0: not told) and limit of a page; a far side may keep to a smaller limit than it was asked for."""
    items = answer.get("list") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        shown = sorted(answer)[:8] if isinstance(answer, dict) else type(answer).__name__
        raise Unreadable(f'expected a page, {{"list": [objects], "count", "page", "limit"}}, found {shown}')
    count, limit = answer.get("count"), answer.get("limit")
    return items, _whole(count) or 0, min(_whole(limit) or size, size)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
