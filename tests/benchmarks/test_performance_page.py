"""The page of figures is what the kept results say."""

from __future__ import annotations

from benchmarks import page


def test_the_page_of_figures_is_made_of_the_results_that_are_kept() -> None:
    assert page.PAGE.read_text() == page.made(), "make it anew: python -m benchmarks.page"
