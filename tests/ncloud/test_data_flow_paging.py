"""Lists in pages: all entries, each once, and an end whatever the far side makes of `page`, `limit` and `count`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ncloud.asking import Unreadable
from agent.ncloud.data_flow import paging

Answer = dict[str, Any]


def items(*ids: int) -> list[dict[str, Any]]:
    return [{"jobId": str(each)} for each in ids]


class Far:
    """A far side with so many entries and its own reading of the documents."""

    def __init__(self, total: int, *, count: str = "page", cap: int = 10**9, tells_cap: bool = True) -> None:
        self.total, self.count, self.cap, self.tells_cap = total, count, cap, tells_cap
        self.pages: list[int] = []

    async def __call__(self, page: int, limit: int) -> Answer:
        self.pages.append(page)
        size = min(limit, self.cap)
        shown = items(*range(self.total))[page * size : (page + 1) * size]
        count = {"page": len(shown), "total": self.total, "none": None}[self.count]
        return {"list": shown, "count": count, "page": page, "limit": size if self.tells_cap else limit}


def read(ask: Any, size: int = 10, most: int | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    heard: list[str] = []
    found = asyncio.run(paging.listed(paging.pages(ask, "jobId", size=size, say=heard.append), most))
    return found, heard


@settings(max_examples=80, deadline=None)
@given(
    total=st.integers(0, 65),
    size=st.integers(1, 20),
    count=st.sampled_from(["page", "total", "none"]),
    cap=st.sampled_from([3, 10**9]),
)
def test_all_entries_are_read_whatever_count_means(total: int, size: int, count: str, cap: int) -> None:
    far = Far(total, count=count, cap=cap)
    assert read(far, size) == (items(*range(total)), [])
    assert len(far.pages) <= total // min(size, cap) + 1


def test_a_limit_that_is_cut_without_a_word_is_seen_by_the_total() -> None:
    assert read(Far(25, count="total", cap=4, tells_cap=False))[0] == items(*range(25))


def test_no_page_is_asked_for_that_is_not_needed() -> None:
    far = Far(100)
    assert read(far, 10, 15)[0] == items(*range(15))
    assert far.pages == [0, 1]
    assert read(Far(100), 10, 0)[0] == []
    far = Far(7)
    read(far)
    assert far.pages == [0]


def test_entries_that_move_on_while_pages_are_read_come_once() -> None:
    shown = [items(*range(10)), items(9, *range(10, 19)), items(19)]

    async def far(page: int, limit: int) -> Answer:
        return {"list": shown[page]}

    assert read(far)[0] == items(*range(20))


def test_a_far_side_that_overlooks_page_is_asked_twice_and_told_of() -> None:
    asked = []

    async def far(page: int, limit: int) -> Answer:
        asked.append(page)
        return {"list": items(*range(10)), "count": 10}

    found, heard = read(far)
    assert (found, asked) == (items(*range(10)), [0, 1])
    assert heard == ["page 1 repeats earlier ones: if there are more than 10 entries, the rest is missing"]


def test_a_list_that_is_known_to_be_cut_is_an_error() -> None:
    async def far(page: int, limit: int) -> Answer:
        return {"list": items(*range(10)), "count": 25}

    with pytest.raises(Unreadable, match="page 1 repeats earlier ones: 10 of 25 entries can be read"):
        read(far)


def test_a_list_without_an_end_is_left_after_a_thousand_pages() -> None:
    asked = []

    async def far(page: int, limit: int) -> Answer:
        asked.append(page)
        return {"list": items(page)}

    with pytest.raises(Unreadable, match="the list has more than 1000 pages of 1"):
        read(far, 1)
    assert asked == list(range(1000))


@pytest.mark.parametrize("answer", [None, True, [], {}, {"list": None}, {"list": ["a"]}, {"jobs": []}])
def test_what_is_no_page_is_told(answer: Any) -> None:
    async def far(page: int, limit: int) -> Any:
        return answer

    with pytest.raises(Unreadable, match=r'expected a page, ."list"'):
        read(far)
